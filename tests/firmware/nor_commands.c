/* The flash driver on a serial line: a command letter, then address and length. */
#include "clint.h"
#include "nor.h"
#include "sysctl.h"
#include "uart.h"

#define BUFFER_SIZE 70000u

static uint8_t buffer[BUFFER_SIZE];

static void receive(uint8_t *data, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t count = uart_read(data + done, length - done);

        done += count;
        if (!count) {
            clint_wait_us(20);
        }
    }
}

static uint32_t receive_word(void) {
    uint32_t word;

    receive((uint8_t *)&word, sizeof word);
    return word;
}

static void answer(uint8_t code, uint32_t address, uint32_t length) {
    uint8_t done = 1;

    switch (code) {
    case 'i':
        nor_jedec_id(buffer);
        nor_unique_id(buffer + 3);
        uart_write(buffer, 3 + NOR_UNIQUE_ID_SIZE);
        return;
    case 'r':
        nor_read(address, buffer, length);
        uart_write(buffer, length);
        return;
    case 'e':
        done =
            length == NOR_SECTOR ? nor_erase_sector(address) : nor_erase_block(address);
        break;
    case 'p':
        receive(buffer, length);
        done = nor_program(address, buffer, length);
        break;
    }
    uart_write(&done, 1);
}

int main(void) {
    sysctl_init();
    uart_init(115200);
    nor_init();
    for (;;) {
        uint8_t code;

        receive(&code, 1);
        uint32_t address = receive_word();
        uint32_t length = receive_word();
        answer(code, address, length);
    }
}
