#include "nor.h"

#include <string.h>

#include "clint.h"
#include "k210.h"
#include "sysctl.h"

/* A DesignWare SSI; offsets after the SDK's spi.h, fields as SPI3 has them. */
struct spi_registers {
    uint32_t control0;
    uint32_t control1; /* frames to receive, less one */
    uint32_t enable;
    uint32_t microwire;
    uint32_t slave_enable;
    uint32_t divider;
    uint32_t tx_threshold;
    uint32_t rx_threshold;
    uint32_t tx_level;
    uint32_t rx_level;
    uint32_t status;
    uint32_t interrupt_mask;
    uint32_t reserved[12];
    uint32_t data;
    uint32_t reserved1[36];
    uint32_t enhanced; /* how a transfer over several wires begins */
};

_Static_assert(offsetof(struct spi_registers, data) == 0x60, "DR");
_Static_assert(offsetof(struct spi_registers, enhanced) == 0xf4, "SPI_CTRLR0");

enum {
    CONTROL_MODE_SHIFT = 10,
    MODE_TRANSMIT = 1 << CONTROL_MODE_SHIFT,
    MODE_READ = 2 << CONTROL_MODE_SHIFT,
    MODE_COMMAND_THEN_READ = 3 << CONTROL_MODE_SHIFT,
    FRAME_8_BITS = 7,
    FRAME_32_BITS = 31,
    TWO_WIRES = 1 << 22,
    /* Command and address go over one wire; lengths are in steps of 4 bits. */
    ENHANCED_ADDRESS_24_BITS = 6 << 2,
    ENHANCED_COMMAND_8_BITS = 2 << 8,
    ENHANCED_WAIT_8_CYCLES = 8 << 11,
    STATUS_BUSY = 1u << 0,
    STATUS_TX_EMPTY = 1u << 2,
    FIFO_FRAMES = 32,
    SLAVE_FLASH = 1u << 0,
};

enum nor_command {
    PROGRAM_PAGE = 0x02,
    READ = 0x03,
    READ_STATUS = 0x05,
    WRITE_ENABLE = 0x06,
    ERASE_SECTOR = 0x20,
    READ_DUAL = 0x3b,
    READ_UNIQUE_ID = 0x4b,
    READ_JEDEC_ID = 0x9f,
    RELEASE_POWER_DOWN = 0xab,
    ERASE_BLOCK = 0xd8,
};

/* The fastest clock that the plain read command stands; the others stand twice that,
 * which wires on a board need not. */
#define NOR_HZ 50000000u
#define NOR_DUAL_HZ 60000000u
#define NOR_STATUS_BUSY 1u
#define WAKE_US 10u
#define PAGE_POLL_US 50u
#define ERASE_POLL_US 1000u
/* Twice and more what data sheets give as the longest. */
#define PAGE_LIMIT_US 20000u
#define SECTOR_LIMIT_US 1000000u
#define BLOCK_LIMIT_US 4000000u
#define WORD_SIZE 4u

_Static_assert(NOR_FETCH == FIFO_FRAMES * WORD_SIZE, "the FIFO");

static uint32_t divider;
static uint32_t dual_divider;
static bool dual = true;
static uint32_t size; /* asked once: a busy flash does not answer */
static volatile struct spi_registers *const spi = (void *)K210_SPI3_BASE;

static void begin(uint32_t control, size_t frames_to_read) {
    spi->enable = 0;
    spi->slave_enable = 0;
    spi->divider = control & TWO_WIRES ? dual_divider : divider;
    spi->control0 = control;
    spi->control1 = (uint32_t)(frames_to_read ? frames_to_read - 1 : 0);
    spi->enable = 1;
}

static void end(void) {
    while (!(spi->status & STATUS_TX_EMPTY) || (spi->status & STATUS_BUSY)) {
    }
    spi->slave_enable = 0;
    spi->enable = 0;
}

/* Send a command of a few bytes. */
static void command(const uint8_t *bytes, size_t length) {
    begin(MODE_TRANSMIT | FRAME_8_BITS, 0);
    for (size_t i = 0; i < length; i++) {
        spi->data = bytes[i];
    }
    spi->slave_enable = SLAVE_FLASH;
    end();
}

/* Send a command of a few bytes and read an answer of a few. */
static void ask(const uint8_t *bytes, size_t length, uint8_t *answer, size_t count) {
    begin(MODE_COMMAND_THEN_READ | FRAME_8_BITS, count);
    for (size_t i = 0; i < length; i++) {
        spi->data = bytes[i];
    }
    spi->slave_enable = SLAVE_FLASH;
    for (size_t i = 0; i < count; i++) {
        while (!spi->rx_level) {
        }
        answer[i] = (uint8_t)spi->data;
    }
    end();
}

static uint32_t with_address(enum nor_command code, uint32_t address) {
    return (uint32_t)code << 24 | (address & 0xffffffu);
}

/* The flash sends the byte at the lowest address first, in a frame's high bits. */
static void put_word(uint8_t *to, uint32_t frame) {
    to[0] = (uint8_t)(frame >> 24);
    to[1] = (uint8_t)(frame >> 16);
    to[2] = (uint8_t)(frame >> 8);
    to[3] = (uint8_t)frame;
}

static uint32_t get_word(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
           from[3];
}

void nor_jedec_id(uint8_t id[3]) {
    static const uint8_t code = READ_JEDEC_ID;

    ask(&code, sizeof code, id, 3);
}

static uint32_t size_by_id(void) {
    enum { SMALLEST = 16, LARGEST = 24 };
    uint8_t id[3];

    nor_jedec_id(id);
    return SMALLEST <= id[2] && id[2] <= LARGEST ? 1u << id[2] : 0;
}

/* The divider is even; round it up. */
static uint32_t divider_for(uint32_t hz) {
    return (sysctl_spi3_hz() + 2 * hz - 1) / (2 * hz) * 2;
}

void nor_init(void) {
    static const uint8_t wake = RELEASE_POWER_DOWN;
    sysctl_enable(SYSCTL_SPI3);
    spi->enable = 0;
    spi->interrupt_mask = 0;
    divider = divider_for(NOR_HZ);
    dual_divider = divider_for(NOR_DUAL_HZ);
    command(&wake, sizeof wake);
    clint_wait_us(WAKE_US);
    size = size_by_id();
}

void nor_unique_id(uint8_t id[NOR_UNIQUE_ID_SIZE]) {
    static const uint8_t code[] = {READ_UNIQUE_ID, 0, 0, 0, 0};

    ask(code, sizeof code, id, NOR_UNIQUE_ID_SIZE);
}

uint32_t nor_size(void) { return size; }

/* Two wires take a mode of their own: the controller sends command and address. */
static void begin_read(uint32_t address, size_t frames) {
    if (dual) {
        spi->enable = 0;
        spi->enhanced =
            ENHANCED_ADDRESS_24_BITS | ENHANCED_COMMAND_8_BITS | ENHANCED_WAIT_8_CYCLES;
        begin(TWO_WIRES | MODE_READ | FRAME_32_BITS, frames);
        spi->data = READ_DUAL;
        spi->data = address;
    } else {
        begin(MODE_COMMAND_THEN_READ | FRAME_32_BITS, frames);
        spi->data = with_address(READ, address);
    }
}

static size_t frames_of(size_t length) { return (length + WORD_SIZE - 1) / WORD_SIZE; }

/* No more than fits the receive FIFO, so that nothing is lost however slow we are. */
void nor_fetch(uint32_t address, size_t length) {
    begin_read(address, frames_of(length));
    spi->slave_enable = SLAVE_FLASH;
}

void nor_take(uint8_t *data, size_t length) {
    uint8_t last[WORD_SIZE];

    for (size_t done = 0; done < length;) {
        for (size_t level = spi->rx_level; level; level--, done += WORD_SIZE) {
            uint32_t frame = spi->data;

            if (length - done >= WORD_SIZE) {
                put_word(data + done, frame);
                continue;
            }
            put_word(last, frame);
            for (size_t i = 0; done + i < length; i++) {
                data[done + i] = last[i];
            }
        }
    }
    end();
}

void nor_read(uint32_t address, uint8_t *data, size_t length) {
    while (length) {
        size_t count = length < NOR_FETCH ? length : NOR_FETCH;

        nor_fetch(address, count);
        nor_take(data, count);
        address += (uint32_t)count;
        data += count;
        length -= count;
    }
}

void nor_check_dual(uint32_t address) {
    uint8_t one[NOR_FETCH];
    uint8_t two[NOR_FETCH];

    if (!dual) {
        return;
    }
    nor_read(address, two, sizeof two);
    dual = false;
    nor_read(address, one, sizeof one);
    dual = memcmp(one, two, sizeof one) == 0;
}

static void enable_writing(void) {
    static const uint8_t code = WRITE_ENABLE;

    command(&code, sizeof code);
}

void nor_start_erase(uint32_t address, bool block) {
    uint8_t bytes[WORD_SIZE];

    put_word(bytes, with_address(block ? ERASE_BLOCK : ERASE_SECTOR, address));
    enable_writing();
    command(bytes, sizeof bytes);
}

bool nor_busy(void) {
    static const uint8_t code = READ_STATUS;
    uint8_t status;

    ask(&code, sizeof code, &status, sizeof status);
    return status & NOR_STATUS_BUSY;
}

uint32_t nor_erase_limit_us(bool block) {
    return block ? BLOCK_LIMIT_US : SECTOR_LIMIT_US;
}

static bool wait_until_done(uint32_t poll_us, uint32_t limit_us) {
    for (uint32_t waited = 0; waited <= limit_us; waited += poll_us) {
        if (!nor_busy()) {
            return true;
        }
        clint_wait_us(poll_us);
    }
    return false;
}

static bool erase(uint32_t address, bool block) {
    nor_start_erase(address, block);
    return wait_until_done(ERASE_POLL_US, nor_erase_limit_us(block));
}

bool nor_erase_sector(uint32_t address) { return erase(address, false); }

bool nor_erase_block(uint32_t address) { return erase(address, true); }

/* The FIFO is filled first, then kept from running dry: that would end the command. */
static void send_words(uint32_t first, const uint8_t *data, size_t words) {
    size_t sent = 0;

    begin(MODE_TRANSMIT | FRAME_32_BITS, 0);
    spi->data = first;
    for (; sent < words && sent < FIFO_FRAMES - 1; sent++) {
        spi->data = get_word(data + sent * WORD_SIZE);
    }
    spi->slave_enable = SLAVE_FLASH;
    while (sent < words) {
        for (size_t room = FIFO_FRAMES - spi->tx_level; room && sent < words; room--) {
            spi->data = get_word(data + sent++ * WORD_SIZE);
        }
    }
    end();
}

/* Program within one page; what is not whole words is filled up with FF. */
static bool program_page(uint32_t address, const uint8_t *data, size_t length) {
    uint8_t words[NOR_PAGE];
    uint32_t lead = address % WORD_SIZE;
    size_t padded = (lead + length + WORD_SIZE - 1) / WORD_SIZE * WORD_SIZE;

    for (size_t i = 0; i < padded; i++) {
        words[i] = lead <= i && i < lead + length ? data[i - lead] : 0xff;
    }
    enable_writing();
    send_words(with_address(PROGRAM_PAGE, address - lead), words, padded / WORD_SIZE);
    return wait_until_done(PAGE_POLL_US, PAGE_LIMIT_US);
}

bool nor_program(uint32_t address, const uint8_t *data, size_t length) {
    while (length) {
        size_t room = NOR_PAGE - address % NOR_PAGE;
        size_t count = length < room ? length : room;

        if (!program_page(address, data, count)) {
            return false;
        }
        address += (uint32_t)count;
        data += count;
        length -= count;
    }
    return true;
}
