#include "dmac.h"

#include "k210.h"

struct dmac_channel {
    uint64_t source;
    uint64_t target;
    uint64_t count;
    uint64_t control;
    uint64_t config;
    uint64_t list;
    uint64_t reserved[26];
};

struct dmac_registers {
    uint64_t id;
    uint64_t version;
    uint64_t config;
    uint64_t channel_enable;
    uint64_t reserved[28];
    struct dmac_channel channels[6];
};

_Static_assert(sizeof(struct dmac_channel) == 0x100, "a channel's registers");
_Static_assert(offsetof(struct dmac_registers, channels) == 0x100, "channel 0");

#define BLOCK_VALID (UINT64_C(1) << 63)

enum {
    ENABLE = 1u << 0,
    CHANNEL_WRITE_SHIFT = 8,
    SOURCE_FIXED = 1u << 4,
    SOURCE_32_BITS = 2u << 8,
    TARGET_32_BITS = 2u << 11,
    SOURCE_LISTED = 3u << 0,
    TARGET_LISTED = 3u << 2,
    TARGET_FIXED = 1u << 6,
    TO_PERIPHERAL = 1,
    FROM_PERIPHERAL = 2,
    FLOW_SHIFT = 32,
    SOURCE_REQUEST_SHIFT = 39,
    TARGET_REQUEST_SHIFT = 44,
};

static volatile struct dmac_registers *const dmac = (void *)K210_DMAC_BASE;

static void fill_in_blocks(struct dmac_ring *ring, const volatile uint32_t *source) {
    uint32_t words = ring->size / DMAC_RING_BLOCKS;

    for (uint32_t i = 0; i < DMAC_RING_BLOCKS; i++) {
        ring->blocks[i] = (struct dmac_block){
            .source = (uintptr_t)source,
            .target = (uintptr_t)(ring->words + i * words),
            .count = words - 1,
            .next = (uintptr_t)&ring->blocks[(i + 1) % DMAC_RING_BLOCKS],
            .control = BLOCK_VALID | SOURCE_FIXED | SOURCE_32_BITS | TARGET_32_BITS,
        };
    }
}

static void start(unsigned channel) {
    __asm__ volatile("fence" ::: "memory");
    dmac->channel_enable = (uint64_t)(ENABLE | ENABLE << CHANNEL_WRITE_SHIFT)
                           << channel;
}

void dmac_ring_start(struct dmac_ring *ring, unsigned channel,
                     const volatile uint32_t *source, enum sysctl_dma_request request,
                     volatile uint32_t *words, uint32_t size) {
    volatile struct dmac_channel *registers = &dmac->channels[channel];

    ring->words = words;
    ring->size = size;
    ring->channel = channel;
    fill_in_blocks(ring, source);
    sysctl_enable(SYSCTL_DMA);
    sysctl_route_dma(channel, request);
    dmac->config = ENABLE;
    registers->config = (uint64_t)FROM_PERIPHERAL << FLOW_SHIFT |
                        (uint64_t)channel << SOURCE_REQUEST_SHIFT | SOURCE_LISTED |
                        TARGET_LISTED;
    registers->list = (uintptr_t)ring->blocks;
    start(channel);
}

uint32_t dmac_ring_position(struct dmac_ring *ring) {
    uint64_t target = dmac->channels[ring->channel].target;
    uint32_t words = (uint32_t)(target - (uintptr_t)ring->words) / sizeof(uint32_t);
    uint32_t position = words % ring->size;
    uint32_t current = position / (ring->size / DMAC_RING_BLOCKS);

    for (uint32_t i = 0; i < DMAC_RING_BLOCKS; i++) {
        if (i != current) {
            ((volatile struct dmac_block *)ring->blocks)[i].control |= BLOCK_VALID;
        }
    }
    return position;
}

void dmac_send(unsigned channel, const volatile uint32_t *words, uint32_t count,
               volatile uint32_t *target) {
    volatile struct dmac_channel *registers = &dmac->channels[channel];

    registers->config = (uint64_t)TO_PERIPHERAL << FLOW_SHIFT |
                        (uint64_t)channel << TARGET_REQUEST_SHIFT;
    registers->source = (uintptr_t)words;
    registers->target = (uintptr_t)target;
    registers->count = count - 1;
    registers->control = TARGET_FIXED | SOURCE_32_BITS | TARGET_32_BITS;
    start(channel);
}

bool dmac_sending(unsigned channel) {
    return (dmac->channel_enable >> channel & ENABLE) != 0;
}
