#include "flash_jobs.h"

#include <string.h>

#include "clint.h"
#include "link.h"
#include "md5.h"
#include "model.h"
#include "nor.h"
#include "sha256.h"

enum { MAX_JOBS = 64 };

/* Of data that wait to be programmed: more than a second of the line. */
#define ROOM 262144u
#define CHUNK 1024u
#define TICKS_PER_US (CLINT_HZ / 1000000u)
#define ERASE_POLL_TICKS (CLINT_HZ / 1000u)

_Static_assert(CHUNK % NOR_FETCH == 0, "whole fetches");
_Static_assert(NOR_FETCH % MD5_BLOCK == 0, "whole blocks");
_Static_assert(ROOM % NOR_PAGE == 0, "a page does not cross the end of the ring");

/* `done` and `arrived` count bytes of the `length`; only writes wait for data. */
struct job {
    struct request request;
    uint32_t address;
    uint32_t length;
    uint32_t done;
    uint32_t arrived;
    bool failed;
};

enum progress { WAITING, WORKED, DONE };

static struct {
    struct job jobs[MAX_JOBS];
    uint32_t first;
    uint32_t count;
} queue;

/* Bytes put into and taken out of the ring so far. */
static struct {
    uint8_t *bytes;
    uint32_t put;
    uint32_t taken;
} ring;

static struct {
    bool running;
    uint32_t unit;
    uint64_t limit;
    uint64_t look_at;
} erasing;

static struct sha256 sha;

/* A block where one fits, else a sector. */
static enum progress step_erase(struct job *job) {
    if (erasing.running) {
        if (clint_time() < erasing.look_at) {
            return WAITING;
        }
        erasing.look_at = clint_time() + ERASE_POLL_TICKS;
        if (nor_busy()) {
            job->failed = clint_time() > erasing.limit;
            erasing.running = !job->failed;
            return job->failed ? DONE : WAITING;
        }
        erasing.running = false;
        job->done += erasing.unit;
        return job->done == job->length ? DONE : WORKED;
    }
    uint32_t address = job->address + job->done;
    bool block = address % NOR_BLOCK == 0 && job->length - job->done >= NOR_BLOCK;

    nor_start_erase(address, block);
    erasing.running = true;
    erasing.unit = block ? NOR_BLOCK : NOR_SECTOR;
    erasing.limit = clint_time() + (uint64_t)nor_erase_limit_us(block) * TICKS_PER_US;
    return WAITING;
}

/* A page, as soon as all of it has arrived. */
static enum progress step_write(struct job *job) {
    uint8_t page[NOR_PAGE];
    uint32_t address = job->address + job->done;
    uint32_t room = NOR_PAGE - address % NOR_PAGE;
    uint32_t left = job->length - job->done;
    uint32_t count = left < room ? left : room;

    if (!left) {
        return DONE;
    }
    if (job->arrived - job->done < count) {
        return WAITING;
    }
    for (uint32_t i = 0; i < count; i++) {
        page[i] = ring.bytes[(ring.taken + i) % ROOM];
    }
    job->failed = job->failed || !nor_program(address, page, count);
    ring.taken += count;
    job->done += count;
    return count == left ? DONE : WORKED;
}

static enum progress step_sha256(struct job *job) {
    uint8_t data[CHUNK];
    uint32_t left = job->length - job->done;
    uint32_t count = left < CHUNK ? left : CHUNK;

    if (!job->done) {
        sha256_start(&sha);
        nor_check_dual(job->address);
    }
    nor_read(job->address + job->done, data, count);
    sha256_add(&sha, data, count);
    job->done += count;
    return count == left ? DONE : WORKED;
}

/* The digest of a sector; each piece is read while the one before is digested. */
static void digest_sector(uint32_t address, uint8_t digest[MD5_SIZE]) {
    uint8_t data[NOR_FETCH];
    struct md5 md5;

    md5_start(&md5);
    nor_fetch(address, NOR_FETCH);
    nor_take(data, NOR_FETCH);
    for (uint32_t at = NOR_FETCH; at < NOR_SECTOR; at += NOR_FETCH) {
        nor_fetch(address + at, NOR_FETCH);
        md5_add(&md5, data, NOR_FETCH / MD5_BLOCK);
        nor_take(data, NOR_FETCH);
    }
    md5_add(&md5, data, NOR_FETCH / MD5_BLOCK);
    md5_finish(&md5, digest);
}

/* Its answer goes out as it is made. */
static enum progress step_sectors(struct job *job) {
    uint8_t digest[MD5_SIZE];

    if (!job->done) {
        nor_check_dual(job->address);
        (void)reply_begin(&job->request, REPLY_OK, job->length / NOR_SECTOR * MD5_SIZE);
    }
    if (job->done < job->length) {
        digest_sector(job->address + job->done, digest);
        (void)link_write(digest, sizeof digest);
        job->done += NOR_SECTOR;
    }
    return job->done >= job->length ? DONE : WORKED;
}

static enum progress step(struct job *job) {
    switch (job->request.op) {
    case REQUEST_FLASH_ERASE:
        return step_erase(job);
    case REQUEST_FLASH_WRITE:
        return step_write(job);
    case REQUEST_FLASH_SHA256:
        return step_sha256(job);
    default:
        return step_sectors(job);
    }
}

/* If the host has gone, the next read from the link finds out. */
static void answer(const struct job *job) {
    uint8_t digest[SHA256_SIZE];

    if (job->request.op == REQUEST_FLASH_SHA256) {
        sha256_finish(&sha, digest);
        (void)reply(&job->request, REPLY_OK, digest, sizeof digest);
    } else if (job->request.op != REQUEST_FLASH_SECTORS) {
        enum reply_status status = job->failed ? REPLY_FLASH_FAILED : REPLY_OK;

        (void)reply(&job->request, status, NULL, 0);
    }
}

bool flash_jobs_step(void) {
    if (!queue.count) {
        return false;
    }
    struct job *job = &queue.jobs[queue.first];
    enum progress progress = step(job);

    if (progress == DONE) {
        answer(job);
        queue.first = (queue.first + 1) % MAX_JOBS;
        queue.count--;
    }
    return progress != WAITING;
}

bool flash_jobs_finish(void) {
    while (queue.count) {
        if (!flash_jobs_step() && !link_wait()) {
            return false;
        }
    }
    return true;
}

void flash_jobs_drop(void) {
    while (erasing.running && nor_busy() && clint_time() <= erasing.limit) {
        (void)link_wait();
    }
    erasing.running = false;
    queue.count = 0;
    ring.taken = ring.put;
}

static bool wait_for_place(void) {
    while (queue.count == MAX_JOBS) {
        if (!flash_jobs_step() && !link_wait()) {
            return false;
        }
    }
    return true;
}

static struct job *add(const struct request *request, uint32_t address,
                       uint32_t length) {
    struct job *job = &queue.jobs[(queue.first + queue.count++) % MAX_JOBS];

    *job = (struct job){.request = *request, .address = address, .length = length};
    return job;
}

bool flash_jobs_add(const struct request *request, uint32_t address, uint32_t length) {
    if (!wait_for_place()) {
        return false;
    }
    (void)add(request, address, length);
    return true;
}

bool flash_jobs_add_write(const struct request *request, uint32_t address,
                          uint32_t length) {
    if (!wait_for_place()) {
        return false;
    }
    struct job *job = add(request, address, length);

    ring.bytes = model_image();
    for (uint32_t left = length; left;) {
        uint32_t at = ring.put % ROOM;
        uint32_t room = NOR_PAGE - at % NOR_PAGE;
        uint32_t count = left < room ? left : room;

        while (ROOM - (ring.put - ring.taken) < count) {
            if (!flash_jobs_step() && !link_wait()) {
                return false;
            }
        }
        if (!link_read(ring.bytes + at, count)) {
            return false;
        }
        ring.put += count;
        job->arrived += count;
        left -= count;
    }
    return true;
}
