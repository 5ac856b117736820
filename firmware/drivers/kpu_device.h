/**
 * The chip's KPU behind the interface of kpu.h.
 *
 * The KPU reads weights and tables from memory, past the cache: whoever writes them
 * writes through the uncached alias. Its own RAM is used past the cache too.
 */
#ifndef KPU_DEVICE_H
#define KPU_DEVICE_H

#include "kpu.h"

/** Sets up the KPU and fills in the interface to it; nothing else may use the KPU. */
void kpu_device_init(struct kpu *kpu);

#endif
