/**
 * Work on the flash that is done while the link goes on, and answered in order.
 *
 * Erasing and programming keep the flash busy for longer than the line needs to bring
 * the next data, so requests queue up here: their data wait in the memory that models
 * else have.
 */
#ifndef FLASH_JOBS_H
#define FLASH_JOBS_H

#include "reply.h"

/** Go on with the first job; false if there is nothing to do but wait. */
bool flash_jobs_step(void);

/** Do all jobs to the end; false if the host has gone. */
bool flash_jobs_finish(void);

/** Forget all jobs, once the flash is at rest. */
void flash_jobs_drop(void);

/** Queue a job on a range that lies in the flash; false if the host has gone. */
bool flash_jobs_add(const struct request *request, uint32_t address, uint32_t length);

/** Queue a write, and read its data from the link; false if the host has gone. */
bool flash_jobs_add_write(const struct request *request, uint32_t address,
                          uint32_t length);

#endif
