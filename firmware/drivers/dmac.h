/**
 * DMA from a peripheral into a ring in memory, without end, and from memory to a
 * peripheral (DMAC).
 *
 * The ring's blocks form a circular list. The controller marks a block as used up when
 * it has filled it; dmac_ring_position() gives back all but the one being filled. So
 * the ring always has room for what fills all blocks but one.
 *
 * Facts: the SDK's dmac.h, and Linux' dw-axi-dmac, which drives this controller.
 */
#ifndef DMAC_H
#define DMAC_H

#include <stdbool.h>
#include <stdint.h>

#include "sysctl.h"

#define DMAC_RING_BLOCKS 16u

/** A block of a transfer, as the controller reads it. */
struct dmac_block {
    uint64_t source;
    uint64_t target;
    uint64_t count; /**< transfers, less one */
    uint64_t next;
    uint64_t control;
    uint64_t written_back[3];
} __attribute__((aligned(64)));

/** A ring of 32-bit words; kept in memory that nobody touches through the cache. */
struct dmac_ring {
    struct dmac_block blocks[DMAC_RING_BLOCKS];
    volatile uint32_t *words;
    uint32_t size; /**< words in it */
    unsigned channel;
};

/**
 * Fill a ring from a register, for ever.
 *
 * @param ring to be filled in; in uncached memory, as are its words
 * @param request what tells that the register holds something
 */
void dmac_ring_start(struct dmac_ring *ring, unsigned channel,
                     const volatile uint32_t *source, enum sysctl_dma_request request,
                     volatile uint32_t *words, uint32_t size);

/** The index of the word that is filled next. */
uint32_t dmac_ring_position(struct dmac_ring *ring);

/**
 * Send words to a register, one for each request that the channel is routed to.
 *
 * @param words in uncached memory; must stay as they are until all are sent
 * @param count at least 1
 */
void dmac_send(unsigned channel, const volatile uint32_t *words, uint32_t count,
               volatile uint32_t *target);

/** Whether a channel has words left to send. */
bool dmac_sending(unsigned channel);

#endif
