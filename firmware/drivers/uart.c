#include "uart.h"

#include "dmac.h"
#include "fpioa.h"
#include "k210.h"
#include "sysctl.h"

/* A DesignWare 16550; offsets after the SDK's uart.h. */
struct uart_registers {
    uint32_t data;         /* also the divisor's low byte, behind LCR_DIVISOR */
    uint32_t interrupts;   /* also its high byte */
    uint32_t fifo_control; /* write only */
    uint32_t line_control;
    uint32_t modem_control;
    uint32_t line_status;
    uint32_t modem_status;
    uint32_t reserved0[24];
    uint32_t status;
    uint32_t tx_level;
    uint32_t rx_level;
    uint32_t reserved1[14];
    uint32_t divisor_fraction;
};

_Static_assert(offsetof(struct uart_registers, status) == 0x7c, "USR");
_Static_assert(offsetof(struct uart_registers, divisor_fraction) == 0xc0, "DLF");

enum {
    PIN_RX = 4,
    PIN_TX = 5,
    LCR_8N1 = 3,
    LCR_DIVISOR = 1u << 7,
    IER_THRESHOLD_MODE = 1u << 7, /* makes LSR bit 5 mean "transmit FIFO full" */
    FCR_ENABLE = 1u << 0,
    FCR_CLEAR = 3u << 1,
    FCR_DMA = 1u << 3,
    FCR_SEND_BELOW_HALF = 3u << 4,
    LSR_TX_EMPTY = 1u << 6,
    FRACTION_STEPS = 16,
    OVERSAMPLING = 16,
    SEND_CHANNEL = 4,
    RECEIVE_CHANNEL = 5,
    SEND_WORDS = 128,
};

static volatile struct uart_registers *const uart = (void *)K210_UART3_BASE;

/* Never touched through the cache, not even to clear them. */
static struct dmac_ring ring_memory __attribute__((section(".noinit")));
/* A word for each byte: DMA moves no less. */
static uint32_t ring_words[UART_RING_SIZE]
    __attribute__((section(".noinit"), aligned(64)));

static uint32_t ring_taken;

/* One half is filled while the other is sent. */
static uint32_t send_words[2][SEND_WORDS]
    __attribute__((section(".noinit"), aligned(64)));
static unsigned send_half;

static struct dmac_ring *ring(void) { return k210_uncached(&ring_memory); }

static void set_divisor(uint32_t baud) {
    /* In sixteenths of a step, rounded; the fraction register holds the last four bits.
     */
    uint32_t divisor = (sysctl_uart_hz() + baud / 2) / baud;

    _Static_assert(OVERSAMPLING == FRACTION_STEPS, "the sixteenths cancel out");
    uart->line_control = LCR_DIVISOR | LCR_8N1;
    uart->interrupts = divisor / FRACTION_STEPS >> 8;
    uart->data = divisor / FRACTION_STEPS & 0xff;
    uart->divisor_fraction = divisor % FRACTION_STEPS;
    uart->line_control = LCR_8N1;
}

void uart_init(uint32_t baud) {
    sysctl_enable(SYSCTL_FPIOA);
    sysctl_enable(SYSCTL_UART3);
    set_divisor(baud);
    uart->interrupts = IER_THRESHOLD_MODE;
    uart->fifo_control = FCR_ENABLE | FCR_CLEAR | FCR_DMA | FCR_SEND_BELOW_HALF;
    fpioa_set_input(PIN_RX, FPIOA_UART3_RX);
    fpioa_set_output(PIN_TX, FPIOA_UART3_TX);
    ring_taken = 0;
    sysctl_route_dma(SEND_CHANNEL, SYSCTL_REQUEST_UART3_TX);
    dmac_ring_start(ring(), RECEIVE_CHANNEL, &uart->data, SYSCTL_REQUEST_UART3_RX,
                    k210_uncached(ring_words), UART_RING_SIZE);
}

void uart_set_baud(uint32_t baud) {
    while (dmac_sending(SEND_CHANNEL) || !(uart->line_status & LSR_TX_EMPTY)) {
    }
    set_divisor(baud);
}

void uart_write(const uint8_t *data, size_t length) {
    while (length) {
        volatile uint32_t *words = k210_uncached(send_words[send_half]);
        size_t count = length < SEND_WORDS ? length : SEND_WORDS;

        for (size_t i = 0; i < count; i++) {
            words[i] = data[i];
        }
        while (dmac_sending(SEND_CHANNEL)) {
        }
        dmac_send(SEND_CHANNEL, words, (uint32_t)count, &uart->data);
        send_half ^= 1;
        data += count;
        length -= count;
    }
}

size_t uart_read(uint8_t *data, size_t room) {
    uint32_t end = dmac_ring_position(ring());
    volatile uint32_t *words = k210_uncached(ring_words);
    size_t count = 0;

    while (count < room && ring_taken != end) {
        data[count++] = (uint8_t)words[ring_taken];
        ring_taken = (ring_taken + 1) % UART_RING_SIZE;
    }
    return count;
}
