#include "stream.h"

#include <string.h>

#include "bytes.h"

enum {
    RANGE_SIZE = 8,
    LIMIT_SIZE = 4,
    WELCOME_SIZE = 6,
    WELCOME_LIMIT_AT = 2,
    SMALLEST_PAYLOAD = 32,
    GROW_AFTER = 32,
};

#define FIRST_PATIENCE_US 200000u
#define LONGEST_PATIENCE_US 2000000u

/* Offsets wrap; `a` comes before `b` if the way from it is the shorter one. */
static bool before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Send the frame whose payload lies in its place in `coded`. */
static void send_frame(struct stream *stream, enum frame_kind kind, uint32_t offset,
                       uint8_t *coded, size_t length) {
    const uint8_t *payload = coded + FRAME_PAYLOAD_AT;
    struct frame frame = {
        .kind = (uint8_t)kind,
        .version = FRAME_VERSION,
        .session = stream->session,
        .offset = offset,
        .length = (uint16_t)length,
    };

    stream->io.send(stream->io.context, coded, frame_encode(&frame, payload, coded));
}

/* Up to which offset the host may send. */
static uint32_t limit(const struct stream *stream) {
    uint32_t room = stream->taken + STREAM_RX_SIZE - stream->received;

    return stream->received + smaller(room, STREAM_IN_FLIGHT);
}

static void send_ack(struct stream *stream) {
    uint8_t coded[FRAME_ROOM(LIMIT_SIZE + STREAM_RANGES * RANGE_SIZE)];
    uint8_t *payload = coded + FRAME_PAYLOAD_AT;
    size_t length = LIMIT_SIZE;

    stream->promised = limit(stream);
    put_u32(payload, stream->promised);
    for (uint32_t i = 0; i < stream->beyond_count; i++, length += RANGE_SIZE) {
        put_u32(payload + length, stream->beyond[i].start);
        put_u32(payload + length + RANGE_SIZE / 2, stream->beyond[i].end);
    }
    send_frame(stream, FRAME_ACK, stream->received, coded, length);
}

static void open_session(struct stream *stream, uint16_t session) {
    uint8_t coded[FRAME_ROOM(WELCOME_SIZE)];
    uint8_t *payload = coded + FRAME_PAYLOAD_AT;
    struct stream_io io = stream->io;

    stream_init(stream, &io);
    stream->session = session;
    stream->open = true;
    stream->promised = limit(stream);
    put_u16(payload, FRAME_MAX_PAYLOAD);
    put_u32(payload + WELCOME_LIMIT_AT, stream->promised);
    send_frame(stream, FRAME_WELCOME, 0, coded, WELCOME_SIZE);
}

void stream_init(struct stream *stream, const struct stream_io *io) {
    struct stream_io kept = *io;

    memset(stream, 0, sizeof *stream);
    stream->io = kept;
    stream->payload_size = FRAME_MAX_PAYLOAD;
    stream->patience = FIRST_PATIENCE_US;
}

/* Add a range to those beyond what is complete; false if there is no room for it. */
static bool note_range(struct stream *stream, struct stream_range range) {
    uint32_t kept = 0;

    for (uint32_t i = 0; i < stream->beyond_count; i++) {
        struct stream_range other = stream->beyond[i];

        if (before(other.end, range.start) || before(range.end, other.start)) {
            stream->beyond[kept++] = other;
        } else {
            range.start = before(other.start, range.start) ? other.start : range.start;
            range.end = before(range.end, other.end) ? other.end : range.end;
        }
    }
    stream->beyond_count = kept;
    if (kept == STREAM_RANGES) {
        return false;
    }
    stream->beyond[stream->beyond_count++] = range;
    return true;
}

/* Move `received` over the ranges that now join it. */
static void advance(struct stream *stream) {
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < stream->beyond_count; i++) {
            struct stream_range range = stream->beyond[i];

            if (!before(stream->received, range.start)) {
                if (before(stream->received, range.end)) {
                    stream->received = range.end;
                }
                stream->beyond[i] = stream->beyond[--stream->beyond_count];
                moved = true;
                break;
            }
        }
    }
}

static void take_data(struct stream *stream, uint32_t start, const uint8_t *payload,
                      uint32_t length) {
    struct stream_range range = {.start = start, .end = start + length};
    uint32_t room_end = stream->taken + STREAM_RX_SIZE;

    if (before(range.start, stream->received)) {
        uint32_t known = stream->received - range.start;

        if (known >= length) {
            return;
        }
        payload += known;
        range.start = stream->received;
    }
    if (before(room_end, range.end) || range.start == range.end ||
        !note_range(stream, range)) {
        return;
    }
    for (uint32_t at = range.start; at != start + length; at++) {
        stream->rx[at % STREAM_RX_SIZE] = *payload++;
    }
    advance(stream);
}

/* Forget the segments that lie in a range; the newest of them. */
static uint32_t confirm_range(struct stream *stream, struct stream_range range) {
    uint32_t newest = 0;

    for (uint32_t i = 0; i < stream->segment_count;) {
        struct stream_segment *segment = &stream->segments[i];

        if (!before(segment->start, range.start) && !before(range.end, segment->end)) {
            newest = segment->order > newest ? segment->order : newest;
            *segment = stream->segments[--stream->segment_count];
            if (++stream->good_frames % GROW_AFTER == 0) {
                stream->payload_size =
                    smaller(2 * stream->payload_size, FRAME_MAX_PAYLOAD);
            }
        } else {
            i++;
        }
    }
    return newest;
}

/* Not part of its callers, which call each other: its buffer is on the stack once. */
__attribute__((noinline)) static void send_segment(struct stream *stream,
                                                   uint32_t start, uint32_t end) {
    uint8_t coded[FRAME_ROOM(FRAME_MAX_PAYLOAD)];
    uint8_t *payload = coded + FRAME_PAYLOAD_AT;
    uint32_t length = end - start;

    for (uint32_t i = 0; i < length; i++) {
        payload[i] = stream->tx[(start + i) % STREAM_TX_SIZE];
    }
    stream->segments[stream->segment_count++] = (struct stream_segment){
        .start = start,
        .end = end,
        .order = ++stream->order,
    };
    send_frame(stream, FRAME_DATA, start, coded, length);
}

/*
 * Send a lost segment again, or as much of it as a frame takes now: the rest waits in
 * its place. False if there is no room to remember one more.
 */
static bool resend(struct stream *stream, uint32_t index) {
    struct stream_segment *lost = &stream->segments[index];
    uint32_t start = lost->start;
    uint32_t end = lost->end;

    if (end - start <= stream->payload_size) {
        *lost = stream->segments[--stream->segment_count];
    } else if (stream->segment_count < STREAM_SEGMENTS) {
        end = start + stream->payload_size;
        lost->start = end;
        lost->order = 0;
    } else {
        return false;
    }
    send_segment(stream, start, end);
    return true;
}

static void send_whole(struct stream *stream, uint32_t index) {
    struct stream_segment lost = stream->segments[index];

    stream->segments[index] = stream->segments[--stream->segment_count];
    send_segment(stream, lost.start, lost.end);
}

static void shrink(struct stream *stream) {
    stream->good_frames = 0;
    if (stream->payload_size > SMALLEST_PAYLOAD) {
        stream->payload_size /= 2;
    }
}

/* The first segment in the stream that was sent before the frame `newest`, or none. */
static bool find_overtaken(const struct stream *stream, uint32_t newest,
                           uint32_t *index) {
    bool found = false;

    for (uint32_t i = 0; i < stream->segment_count; i++) {
        const struct stream_segment *segment = &stream->segments[i];

        if (segment->order < newest &&
            (!found || before(segment->start, stream->segments[*index].start))) {
            *index = i;
            found = true;
        }
    }
    return found;
}

/* A segment that one sent after it has overtaken is lost. */
static void resend_overtaken(struct stream *stream, uint32_t newest) {
    uint32_t index;

    if (!find_overtaken(stream, newest, &index)) {
        return;
    }
    shrink(stream);
    while (find_overtaken(stream, newest, &index) && resend(stream, index)) {
    }
}

static void take_ack(struct stream *stream, uint32_t offset, const uint8_t *payload,
                     uint32_t length) {
    uint32_t newest = 0;

    if (before(offset, stream->confirmed) || before(stream->sent, offset)) {
        return;
    }
    if (offset != stream->confirmed) {
        newest = confirm_range(
            stream, (struct stream_range){.start = stream->confirmed, .end = offset});
        stream->confirmed = offset;
        stream->last_progress = stream->io.now(stream->io.context);
        stream->patience = FIRST_PATIENCE_US;
    }
    for (uint32_t at = LIMIT_SIZE; at + RANGE_SIZE <= length; at += RANGE_SIZE) {
        uint32_t last =
            confirm_range(stream, (struct stream_range){
                                      .start = get_u32(payload + at),
                                      .end = get_u32(payload + at + RANGE_SIZE / 2),
                                  });
        newest = last > newest ? last : newest;
    }
    resend_overtaken(stream, newest);
}

static void take_frame(struct stream *stream, const struct frame *frame,
                       const uint8_t *payload) {
    if (frame->kind == FRAME_HELLO) {
        open_session(stream, frame->session);
        return;
    }
    if (!stream->open || frame->session != stream->session ||
        frame->version != FRAME_VERSION) {
        uint8_t coded[FRAME_ROOM(0)];
        uint16_t own = stream->session;

        stream->session = frame->session;
        send_frame(stream, FRAME_UNKNOWN_SESSION, 0, coded, 0);
        stream->session = own;
        return;
    }
    if (frame->kind == FRAME_DATA) {
        take_data(stream, frame->offset, payload, frame->length);
        send_ack(stream);
    } else if (frame->kind == FRAME_ACK) {
        take_ack(stream, frame->offset, payload, frame->length);
    }
}

void stream_receive(struct stream *stream, const uint8_t *bytes, size_t length) {
    while (length) {
        struct frame frame;
        const uint8_t *payload;
        size_t used;

        if (frame_decode(&stream->decoder, bytes, length, &used, &frame, &payload)) {
            take_frame(stream, &frame, payload);
        }
        bytes += used;
        length -= used;
    }
}

static void send_new(struct stream *stream) {
    while (stream->sent != stream->written && stream->segment_count < STREAM_SEGMENTS) {
        uint32_t length = smaller(stream->written - stream->sent, stream->payload_size);

        if (!stream->segment_count) {
            stream->last_progress = stream->io.now(stream->io.context);
        }
        stream->sent += length;
        send_segment(stream, stream->sent - length, stream->sent);
    }
}

static void send_overdue(struct stream *stream) {
    uint64_t now = stream->io.now(stream->io.context);
    uint32_t first = 0;

    if (!stream->segment_count || now - stream->last_progress < stream->patience) {
        return;
    }
    for (uint32_t i = 1; i < stream->segment_count; i++) {
        if (stream->segments[i].order < stream->segments[first].order) {
            first = i;
        }
    }
    if (resend(stream, first)) {
        shrink(stream);
    } else { /* its pieces have no room: try it whole */
        send_whole(stream, first);
    }
    stream->last_progress = now;
    stream->patience = smaller((uint32_t)stream->patience * 2, LONGEST_PATIENCE_US);
}

void stream_poll(struct stream *stream) {
    if (!stream->open) {
        return;
    }
    send_new(stream);
    send_overdue(stream);
}

size_t stream_read(struct stream *stream, uint8_t *data, size_t room) {
    uint32_t count = smaller(stream->received - stream->taken,
                             room < STREAM_RX_SIZE ? (uint32_t)room : STREAM_RX_SIZE);

    for (uint32_t i = 0; i < count; i++) {
        data[i] = stream->rx[(stream->taken + i) % STREAM_RX_SIZE];
    }
    stream->taken += count;
    /* A host that stands still because of our limit must hear that it has moved. */
    if (count && limit(stream) - stream->promised >= STREAM_IN_FLIGHT / 2) {
        send_ack(stream);
    }
    return count;
}

size_t stream_write(struct stream *stream, const uint8_t *data, size_t length) {
    uint32_t room = STREAM_TX_SIZE - (stream->written - stream->confirmed);
    uint32_t count = length < room ? (uint32_t)length : room;

    for (uint32_t i = 0; i < count; i++) {
        stream->tx[(stream->written + i) % STREAM_TX_SIZE] = data[i];
    }
    stream->written += count;
    return count;
}

bool stream_flushed(const struct stream *stream) {
    return stream->confirmed == stream->written;
}
