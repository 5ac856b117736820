/**
 * A reliable stream of bytes in each direction over a line that loses, doubles,
 * reorders and corrupts them.
 *
 * Frames carry their offset in the stream. The receiver keeps what comes out of order
 * and answers every frame with what it has; the sender sends again what a later frame
 * has overtaken, and fits the size of its frames to the errors. Knows nothing of the
 * chip; its twin is k210/link/stream.py.
 */
#ifndef STREAM_H
#define STREAM_H

#include "frame.h"

#define STREAM_RX_SIZE 8192u
/** Most bytes that may be under way to us: what the line's buffer surely holds. */
#define STREAM_IN_FLIGHT 4096u
#define STREAM_TX_SIZE 4096u
#define STREAM_RANGES 8u
#define STREAM_SEGMENTS 64u

/** Bytes from `start` up to, not including, `end`. */
struct stream_range {
    uint32_t start;
    uint32_t end;
};

/** A frame that was sent and not yet confirmed. */
struct stream_segment {
    uint32_t start;
    uint32_t end;
    uint32_t order; /**< counts the frames sent; 0 for what is lost and waits */
};

/** What a stream works with. */
struct stream_io {
    void *context;
    /** Put bytes on the line. */
    void (*send)(void *context, const uint8_t *bytes, size_t length);
    /** Microseconds from any start. */
    uint64_t (*now)(void *context);
};

/** Both directions. Only `session` and `open` are for the caller. */
struct stream {
    struct stream_io io;
    uint16_t session;
    bool open; /**< a host has said hello */
    struct frame_decoder decoder;

    uint32_t received; /**< all before this offset has come */
    uint32_t taken;    /**< all before this offset has been read */
    uint32_t promised; /**< the limit last told to the host */
    struct stream_range beyond[STREAM_RANGES];
    uint32_t beyond_count;
    uint8_t rx[STREAM_RX_SIZE];

    uint32_t confirmed; /**< the host has all before this offset */
    uint32_t sent;
    uint32_t written;
    struct stream_segment segments[STREAM_SEGMENTS];
    uint32_t segment_count;
    uint32_t order;
    uint32_t payload_size;
    uint32_t good_frames;
    uint64_t last_progress;
    uint64_t patience;
    uint8_t tx[STREAM_TX_SIZE];
};

/** Start without a host. */
void stream_init(struct stream *stream, const struct stream_io *io);

/** Take bytes from the line, and answer them. */
void stream_receive(struct stream *stream, const uint8_t *bytes, size_t length);

/** Send what is due: new bytes, and old ones that nobody confirmed in time. */
void stream_poll(struct stream *stream);

/** Read at most `room` bytes of the stream; returns their number. */
size_t stream_read(struct stream *stream, uint8_t *data, size_t room);

/** Write at most `length` bytes to the stream; returns how many had room. */
size_t stream_write(struct stream *stream, const uint8_t *data, size_t length);

/** Whether the host has confirmed all that was written. */
bool stream_flushed(const struct stream *stream);

#endif
