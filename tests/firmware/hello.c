/* Greets, echoes a line in capitals, then reads where nothing is if told to. */
#include "sysctl.h"
#include "uart.h"

static const uint8_t greeting[] = "hello, 1/3 = 0.333\n";

int main(void) {
    volatile double one = 1, three = 3;
    uint8_t byte;

    sysctl_init();
    uart_init(115200);
    if (one / three * three == one) {
        uart_write(greeting, sizeof greeting - 1);
    }
    for (;;) {
        if (uart_read(&byte, 1)) {
            if (byte == '!') {
                byte = *(volatile uint8_t *)0x12345678;
            }
            byte = (uint8_t)(byte - ('a' <= byte && byte <= 'z' ? 'a' - 'A' : 0));
            uart_write(&byte, 1);
        } else {
            __asm__ volatile("wfi");
        }
    }
}
