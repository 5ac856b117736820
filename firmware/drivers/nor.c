#include "nor.h"

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
};

_Static_assert(offsetof(struct spi_registers, data) == 0x60, "DR");

enum {
    CONTROL_MODE_SHIFT = 10,
    MODE_TRANSMIT = 1 << CONTROL_MODE_SHIFT,
    MODE_COMMAND_THEN_READ = 3 << CONTROL_MODE_SHIFT,
    FRAME_8_BITS = 7,
    FRAME_32_BITS = 31,
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
    READ_UNIQUE_ID = 0x4b,
    READ_JEDEC_ID = 0x9f,
    RELEASE_POWER_DOWN = 0xab,
    ERASE_BLOCK = 0xd8,
};

/* The fastest clock that the plain read command stands. */
#define NOR_HZ 50000000u
#define NOR_STATUS_BUSY 1u
#define WAKE_US 10u
#define PAGE_POLL_US 50u
#define ERASE_POLL_US 1000u
/* Twice and more what data sheets give as the longest. */
#define PAGE_LIMIT_US 20000u
#define SECTOR_LIMIT_US 1000000u
#define BLOCK_LIMIT_US 4000000u
#define WORD_SIZE 4u
#define CHUNK (FIFO_FRAMES * WORD_SIZE)

static volatile struct spi_registers *const spi = (void *)K210_SPI3_BASE;

static void begin(uint32_t control, size_t frames_to_read) {
    spi->enable = 0;
    spi->slave_enable = 0;
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

void nor_init(void) {
    static const uint8_t wake = RELEASE_POWER_DOWN;
    /* The divider is even; round it up. */
    uint32_t divider = (sysctl_spi3_hz() + 2 * NOR_HZ - 1) / (2 * NOR_HZ) * 2;

    sysctl_enable(SYSCTL_SPI3);
    spi->enable = 0;
    spi->interrupt_mask = 0;
    spi->divider = divider;
    command(&wake, sizeof wake);
    clint_wait_us(WAKE_US);
}

void nor_jedec_id(uint8_t id[3]) {
    static const uint8_t code = READ_JEDEC_ID;

    ask(&code, sizeof code, id, 3);
}

void nor_unique_id(uint8_t id[NOR_UNIQUE_ID_SIZE]) {
    static const uint8_t code[] = {READ_UNIQUE_ID, 0, 0, 0, 0};

    ask(code, sizeof code, id, NOR_UNIQUE_ID_SIZE);
}

uint32_t nor_size(void) {
    enum { SMALLEST = 16, LARGEST = 24 };
    uint8_t id[3];

    nor_jedec_id(id);
    return SMALLEST <= id[2] && id[2] <= LARGEST ? 1u << id[2] : 0;
}

/* Read what fits the receive FIFO, so that nothing is lost however slow we are. */
static void read_chunk(uint32_t address, uint8_t *data, size_t length) {
    size_t frames = (length + WORD_SIZE - 1) / WORD_SIZE;
    uint8_t last[WORD_SIZE];

    begin(MODE_COMMAND_THEN_READ | FRAME_32_BITS, frames);
    spi->data = with_address(READ, address);
    spi->slave_enable = SLAVE_FLASH;
    for (size_t done = 0; done < frames;) {
        for (size_t level = spi->rx_level; level; level--, done++) {
            uint32_t frame = spi->data;
            size_t left = length - done * WORD_SIZE;

            if (left >= WORD_SIZE) {
                put_word(data + done * WORD_SIZE, frame);
                continue;
            }
            put_word(last, frame);
            for (size_t i = 0; i < left; i++) {
                data[done * WORD_SIZE + i] = last[i];
            }
        }
    }
    end();
}

void nor_read(uint32_t address, uint8_t *data, size_t length) {
    while (length) {
        size_t count = length < CHUNK ? length : CHUNK;

        read_chunk(address, data, count);
        address += (uint32_t)count;
        data += count;
        length -= count;
    }
}

static void enable_writing(void) {
    static const uint8_t code = WRITE_ENABLE;

    command(&code, sizeof code);
}

static bool wait_until_done(uint32_t poll_us, uint32_t limit_us) {
    static const uint8_t code = READ_STATUS;
    uint8_t status;

    for (uint32_t waited = 0; waited <= limit_us; waited += poll_us) {
        ask(&code, sizeof code, &status, sizeof status);
        if (!(status & NOR_STATUS_BUSY)) {
            return true;
        }
        clint_wait_us(poll_us);
    }
    return false;
}

static bool erase(enum nor_command code, uint32_t address, uint32_t limit_us) {
    uint8_t bytes[WORD_SIZE];

    put_word(bytes, with_address(code, address));
    enable_writing();
    command(bytes, sizeof bytes);
    return wait_until_done(ERASE_POLL_US, limit_us);
}

bool nor_erase_sector(uint32_t address) {
    return erase(ERASE_SECTOR, address, SECTOR_LIMIT_US);
}

bool nor_erase_block(uint32_t address) {
    return erase(ERASE_BLOCK, address, BLOCK_LIMIT_US);
}

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
