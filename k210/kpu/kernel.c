/*
 * The arithmetic of one layer of the K210's KPU, bit for bit as nncase 1.9's simulator
 * does it; plain.py says the same in numpy and is what this is tested against.
 *
 * A map is padded into planes, one per input channel. Then every output position is a
 * flat index into a plane, whatever the width, and a tap of the kernel is an offset.
 * Positions between two lines are computed like the others and never read.
 *
 * Nothing here allocates or needs a C library: the caller passes the scratch memory.
 */
#include <stdbool.h>
#include <stdint.h>

#define TILE 32     /* positions computed together */
#define LANES 4     /* output channels computed together */
#define SEGMENTS 16 /* lines of an activation table */
#define TAPS_MAX 9  /* weights of one input channel */

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define INLINE static inline __attribute__((always_inline))

/** Where the bytes of a map are; steps are in bytes. */
struct kpu_map {
    uint8_t *data;
    int64_t channels, height, width;
    int64_t group; /* channels that share a line of memory */
    int64_t group_step, channel_step, line_step;
};

/** What the layer registers say of the arithmetic. */
struct kpu_layer {
    int64_t kernel, depthwise, pool, pad_value;
    int64_t arg_x, shr_x, arg_w, shr_w, arg_add;
};

/** The bytes that the layer's addresses point to. */
struct kpu_tables {
    const uint8_t *weights; /* outputs × inputs × k × k, depthwise channels × k × k */
    const uint8_t *batch_norm; /* 8 bytes per output channel */
    const uint8_t *activation; /* 144 bytes, shifts below 64 */
};

struct activation {
    int64_t start[SEGMENTS], mul[SEGMENTS], half[SEGMENTS];
    int64_t bias[SEGMENTS], shift[SEGMENTS];
};

/** How a kind of pooling walks: `side` of its window, and what it takes from it. */
struct pooling {
    int64_t side, stride;
    enum { TAKE_ONE, TAKE_MAX, TAKE_MEAN } take;
    int64_t column; /* of the one that is taken */
};

static const struct pooling POOLS[] = {
    {1, 1, TAKE_ONE, 0}, {2, 2, TAKE_MAX, 0},  {2, 2, TAKE_MEAN, 0},
    {4, 4, TAKE_MAX, 0}, {4, 4, TAKE_MEAN, 0}, {2, 2, TAKE_ONE, 0},
    {2, 2, TAKE_ONE, 1}, {4, 4, TAKE_ONE, 0},  {2, 1, TAKE_MEAN, 0},
    {2, 1, TAKE_MAX, 0},
};

/** The planes and the other scratch memory of one layer. */
struct work {
    int64_t channels, height, width, taps, depth;
    int64_t pitch, plane_step, positions;
    int64_t *offsets; /* of each tap of each input channel that an output sees */
    int64_t *from_x;  /* what the sums of inputs add, per position */
    int16_t *weights; /* one block: LANES per tap */
    uint8_t *planes;
    uint8_t *maps; /* LANES convolved maps, `positions` padded to tiles each */
    int64_t map_step;
};

static int64_t bits(uint64_t word, int low, int width) {
    return (int64_t)(word << (64 - low - width)) >> (64 - width);
}

static uint64_t read_word(const uint8_t *bytes) {
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) {
        word = word << 8 | bytes[i];
    }
    return word;
}

/** Products wrap around instead of being undefined. */
INLINE int64_t times(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

INLINE int64_t plus(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void decode_activation(struct activation *table, const uint8_t *raw) {
    for (int i = 0; i < SEGMENTS; i++) {
        uint64_t word = read_word(raw + 8 * i);
        table->shift[i] = raw[8 * i];
        table->mul[i] = bits(word, 8, 16);
        table->start[i] = bits(word, 24, 36);
        table->bias[i] = raw[8 * SEGMENTS + i];
        /* without a shift there is no remainder to round */
        table->half[i] =
            table->shift[i] ? INT64_C(1) << (table->shift[i] - 1) : INT64_MAX;
    }
}

static int64_t line_of(const struct kpu_map *map, int64_t channel, int64_t y) {
    return channel / map->group * map->group_step +
           channel % map->group * map->channel_step + y * map->line_step;
}

static void fill_planes(const struct work *work, const struct kpu_map *in,
                        uint8_t pad_value) {
    int64_t pad = (work->pitch - in->width) / 2;
    int64_t bytes = in->channels * work->plane_step + TILE;
    for (int64_t i = 0; pad && i < bytes; i++) {
        work->planes[i] = pad_value;
    }
    for (int64_t c = 0; c < in->channels; c++) {
        for (int64_t y = 0; y < in->height; y++) {
            const uint8_t *from = in->data + line_of(in, c, y);
            uint8_t *to =
                work->planes + c * work->plane_step + (y + pad) * work->pitch + pad;
            for (int64_t x = 0; x < in->width; x++) {
                to[x] = from[x];
            }
        }
    }
}

static void fill_offsets(const struct work *work, int64_t kernel) {
    for (int64_t k = 0; k < work->depth; k++) {
        int64_t tap = k % work->taps;
        work->offsets[k] = k / work->taps * work->plane_step +
                           tap / kernel * work->pitch + tap % kernel;
    }
}

/** Sums of `lanes` output channels over all taps, for one tile. */
INLINE void accumulate(int lanes, const struct work *work, const uint8_t *x,
                       int32_t sums[LANES][TILE]) {
    int32_t acc[LANES][TILE];
    for (int lane = 0; lane < lanes; lane++) {
        for (int i = 0; i < TILE; i++) {
            acc[lane][i] = 0;
        }
    }
    for (int64_t k = 0; k < work->depth; k++) {
        const uint8_t *from = x + work->offsets[k];
        const int16_t *weights = work->weights + k * LANES;
        for (int lane = 0; lane < lanes; lane++) {
            for (int i = 0; i < TILE; i++) {
                acc[lane][i] += (int32_t)from[i] * weights[lane];
            }
        }
    }
    for (int lane = 0; lane < lanes; lane++) {
        for (int i = 0; i < TILE; i++) {
            sums[lane][i] = acc[lane][i];
        }
    }
}

/** The sums of inputs that an output sees, scaled: Σx · arg_x >> shr_x. */
static void fill_from_x(const struct work *work, const struct kpu_layer *layer,
                        const uint8_t *plane, int64_t start, int64_t end) {
    for (int64_t at = start; at < end; at += TILE) {
        int32_t sums[TILE] = {0};
        for (int64_t k = 0; k < work->depth; k++) {
            const uint8_t *from = plane + at + work->offsets[k];
            for (int i = 0; i < TILE; i++) {
                sums[i] += from[i];
            }
        }
        for (int i = 0; i < TILE; i++) {
            work->from_x[at + i] = times(layer->arg_x, sums[i]) >> layer->shr_x;
        }
    }
}

/** Batch norm and activation of one tile of one output channel. */
static void activate(const struct activation *table, uint64_t batch_norm,
                     int64_t constant, const int32_t sums[TILE],
                     const int64_t from_x[TILE], uint8_t out[TILE]) {
    int64_t mul = bits(batch_norm, 0, 24), add = bits(batch_norm, 24, 32);
    int64_t shift = (int64_t)(batch_norm >> 56 & 15);
    int64_t y[TILE], segment[TILE];
    for (int i = 0; i < TILE; i++) {
        int64_t acc = plus(plus(sums[i], from_x[i]), constant);
        y[i] = plus(times(acc, mul) >> shift, add);
        segment[i] = 0;
    }
    for (int s = 1; s < SEGMENTS; s++) {
        for (int i = 0; i < TILE; i++) {
            segment[i] = y[i] > table->start[s] ? s : segment[i];
        }
    }
    for (int i = 0; i < TILE; i++) {
        int64_t s = segment[i];
        int64_t product = times(plus(y[i], -table->start[s]), table->mul[s]);
        int64_t whole = product >> table->shift[s];
        int64_t rest =
            (int64_t)((uint64_t)product - ((uint64_t)whole << table->shift[s]));
        int64_t up = rest > table->half[s] || (rest == table->half[s] && (whole & 1));
        int64_t value = plus(plus(whole, product < 0 ? -up : up), table->bias[s]);
        out[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

static uint8_t pooled(const struct pooling *pool, const struct work *work,
                      const uint8_t *map, int64_t y, int64_t x) {
    int64_t most = 0, sum = 0;
    if (pool->take == TAKE_ONE) {
        return map[y * work->pitch + x + pool->column];
    }
    for (int64_t dy = 0; dy < pool->side; dy++) {
        for (int64_t dx = 0; dx < pool->side; dx++) {
            /* Beyond the edge a mean repeats it. A maximum does not see it again
             * differently, so repeating is right there too. */
            int64_t line = y + dy < work->height ? y + dy : work->height - 1;
            int64_t column = x + dx < work->width ? x + dx : work->width - 1;
            int64_t value = map[line * work->pitch + column];
            most = value > most ? value : most;
            sum += value;
        }
    }
    return (uint8_t)(pool->take == TAKE_MAX ? most : sum / (pool->side * pool->side));
}

static void write_pooled(const struct pooling *pool, const struct work *work,
                         const uint8_t *map, const struct kpu_map *out,
                         int64_t channel) {
    for (int64_t y = 0; y < out->height; y++) {
        uint8_t *to = out->data + line_of(out, channel, y);
        for (int64_t x = 0; x < out->width; x++) {
            to[x] = pooled(pool, work, map, y * pool->stride, x * pool->stride);
        }
    }
}

/** Weights of one block of output channels, taps first; returns Σw of each. */
static void load_weights(const struct work *work, const uint8_t *weights, int64_t lanes,
                         int64_t sums[LANES]) {
    for (int64_t lane = 0; lane < LANES; lane++) {
        const uint8_t *from = weights + lane * work->depth;
        sums[lane] = 0;
        for (int64_t k = 0; k < work->depth; k++) {
            int16_t weight = lane < lanes ? from[k] : 0;
            work->weights[k * LANES + lane] = weight;
            sums[lane] += weight;
        }
    }
}

/** Compute tiles of some output channels, from `start` to before `end`. */
static void run_block(const struct work *work, const struct activation *table,
                      const uint8_t *plane, const uint8_t *batch_norm,
                      const int64_t constant[LANES], int64_t lanes, int64_t start,
                      int64_t end) {
    for (int64_t at = start; at < end; at += TILE) {
        int32_t sums[LANES][TILE];
        if (lanes == 1) {
            accumulate(1, work, plane + at, sums);
        } else {
            accumulate(LANES, work, plane + at, sums);
        }
        for (int64_t lane = 0; lane < lanes; lane++) {
            activate(table, read_word(batch_norm + 8 * lane), constant[lane],
                     sums[lane], work->from_x + at,
                     work->maps + lane * work->map_step + at);
        }
    }
}

static int64_t padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/** Lay out the scratch memory from `memory` on; returns its size in bytes. */
static int64_t lay_out(struct work *work, const struct kpu_layer *layer,
                       const struct kpu_map *in, uint8_t *memory) {
    int64_t pad = layer->kernel / 2;
    work->channels = in->channels;
    work->height = in->height;
    work->width = in->width;
    work->taps = layer->kernel * layer->kernel;
    work->depth = work->taps * (layer->depthwise ? 1 : in->channels);
    work->pitch = in->width + 2 * pad;
    work->plane_step = (in->height + 2 * pad) * work->pitch;
    work->positions = in->height * work->pitch;
    work->map_step = padded(work->positions + TILE);
    int64_t used = 0;
    work->offsets = (int64_t *)(memory + used);
    used += padded(work->depth * (int64_t)sizeof(int64_t));
    work->from_x = (int64_t *)(memory + used);
    used += padded((work->positions + TILE) * (int64_t)sizeof(int64_t));
    work->weights = (int16_t *)(memory + used);
    used += padded(work->depth * LANES * (int64_t)sizeof(int16_t));
    work->maps = memory + used;
    used += LANES * work->map_step;
    work->planes = memory + used;
    /* the last tile reads past the last line by up to a tile and a kernel */
    used += padded(in->channels * work->plane_step + 2 * TILE);
    return used;
}

/** Bytes of scratch memory that kpu_run_layer needs. */
EXPORT int64_t kpu_scratch_bytes(const struct kpu_layer *layer,
                                 const struct kpu_map *in) {
    struct work work;
    return lay_out(&work, layer, in, 0);
}

/** Run `lanes` output channels from `first` on, and write them. */
static void run_channels(const struct work *work, const struct kpu_layer *layer,
                         const struct kpu_tables *tables,
                         const struct activation *activation, const struct kpu_map *out,
                         int64_t first, int64_t lanes) {
    const struct pooling *pool = &POOLS[layer->pool];
    const uint8_t *plane = work->planes;
    int64_t inputs = work->depth / work->taps, constant[LANES];
    /* where one pixel of a window is taken, only its lines are computed */
    bool sparse = pool->take == TAKE_ONE && pool->stride > 1;
    int64_t step = sparse ? pool->stride * work->pitch : work->positions;
    int64_t run = sparse ? work->width : work->positions;
    load_weights(work, tables->weights + first * work->depth, lanes, constant);
    for (int64_t lane = 0; lane < lanes; lane++) {
        constant[lane] = plus(times(layer->arg_w, constant[lane]) >> layer->shr_w,
                              times(layer->arg_add, inputs));
    }
    if (layer->depthwise) {
        plane += first * work->plane_step;
    }
    for (int64_t at = 0; at < work->positions; at += step) {
        if (layer->depthwise || first == 0) {
            fill_from_x(work, layer, plane, at, at + run);
        }
        run_block(work, activation, plane, tables->batch_norm + 8 * first, constant,
                  lanes, at, at + run);
    }
    for (int64_t lane = 0; lane < lanes; lane++) {
        write_pooled(pool, work, work->maps + lane * work->map_step, out, first + lane);
    }
}

/** Run one layer; `scratch` is 64-byte aligned and has kpu_scratch_bytes. */
EXPORT void kpu_run_layer(const struct kpu_layer *layer, const struct kpu_map *in,
                          const struct kpu_map *out, const struct kpu_tables *tables,
                          uint8_t *scratch) {
    struct activation activation;
    struct work work;
    lay_out(&work, layer, in, scratch);
    decode_activation(&activation, tables->activation);
    fill_planes(&work, in, (uint8_t)layer->pad_value);
    fill_offsets(&work, layer->kernel);
    int64_t block = layer->depthwise ? 1 : LANES;
    for (int64_t c = 0; c < out->channels; c += block) {
        int64_t lanes = out->channels - c < block ? out->channels - c : block;
        run_channels(&work, layer, tables, &activation, out, c, lanes);
    }
}

/** Copy a map into one of the same shape, whatever their layouts. */
EXPORT void kpu_copy_map(const struct kpu_map *in, const struct kpu_map *out) {
    for (int64_t c = 0; c < in->channels; c++) {
        for (int64_t y = 0; y < in->height; y++) {
            const uint8_t *from = in->data + line_of(in, c, y);
            uint8_t *to = out->data + line_of(out, c, y);
            for (int64_t x = 0; x < in->width; x++) {
                to[x] = from[x];
            }
        }
    }
}
