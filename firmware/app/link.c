#include "link.h"

#include "clint.h"
#include "stream.h"
#include "uart.h"

#define FIRST_BAUD 115200u
#define TICKS_PER_US (CLINT_HZ / 1000000u)
/* Sleeps between two looks: short while the line is busy. */
#define BUSY_SLEEP_US 250u
#define IDLE_SLEEP_US 1000u
#define IDLE_AFTER_US 20000u
#define FLUSH_LIMIT_US 1000000u
/* A host that has asked for a new rate must use it this soon. */
#define NEW_BAUD_LIMIT_US 1000000u
#define CHUNK 256u

static struct stream stream;
static uint64_t last_activity;
static uint16_t session; /* that the request under way belongs to */
static uint64_t fall_back_at;
static bool (*background)(void);

static uint64_t now_us(void *context) {
    (void)context;
    return clint_time() / TICKS_PER_US;
}

static void send(void *context, const uint8_t *bytes, size_t length) {
    (void)context;
    uart_write(bytes, length);
}

void link_init(void) {
    static const struct stream_io io = {.send = send, .now = now_us};

    uart_init(FIRST_BAUD);
    stream_init(&stream, &io);
}

/* Nobody has spoken to us at the new rate: go back to where a host will look. */
static void watch_baud(bool heard) {
    if (heard) {
        fall_back_at = 0;
    } else if (fall_back_at && now_us(NULL) > fall_back_at) {
        fall_back_at = 0;
        uart_set_baud(FIRST_BAUD);
    }
}

void link_poll(void) {
    uint8_t bytes[CHUNK];
    uint16_t before = stream.session;
    bool was_open = stream.open;

    for (size_t count; (count = uart_read(bytes, sizeof bytes));) {
        stream_receive(&stream, bytes, count);
        last_activity = now_us(NULL);
    }
    watch_baud(stream.open && (!was_open || stream.session != before));
    stream_poll(&stream);
}

static void sleep(void) {
    uint64_t now = now_us(NULL);
    bool idle = now - last_activity > IDLE_AFTER_US;

    clint_sleep_until((now + (idle ? IDLE_SLEEP_US : BUSY_SLEEP_US)) * TICKS_PER_US);
}

void link_begin(void) { session = stream.session; }

static bool same_host(void) { return stream.session == session; }

void link_set_background(bool (*work)(void)) { background = work; }

bool link_wait(void) {
    sleep();
    link_poll();
    return same_host();
}

bool link_read(uint8_t *data, size_t length) {
    while (length) {
        link_poll();
        if (!same_host()) {
            return false;
        }
        size_t count = stream_read(&stream, data, length);

        data += count;
        length -= count;
        if (!count && !(background && background())) {
            sleep();
        }
    }
    return true;
}

bool link_skip(size_t length) {
    uint8_t unused[CHUNK];

    while (length) {
        size_t count = length < CHUNK ? length : CHUNK;

        if (!link_read(unused, count)) {
            return false;
        }
        length -= count;
    }
    return true;
}

bool link_write(const uint8_t *data, size_t length) {
    for (;;) {
        size_t count = stream_write(&stream, data, length);

        data += count;
        length -= count;
        link_poll();
        if (!same_host()) {
            return false;
        }
        if (!length) {
            return true;
        }
        if (!count) {
            sleep();
        }
    }
}

bool link_flush(void) {
    uint64_t end = now_us(NULL) + FLUSH_LIMIT_US;

    while (!stream_flushed(&stream)) {
        link_poll();
        if (!same_host() || now_us(NULL) > end) {
            return false;
        }
        sleep();
    }
    return true;
}

void link_set_baud(uint32_t baud) {
    uart_set_baud(baud);
    fall_back_at = now_us(NULL) + NEW_BAUD_LIMIT_US;
}
