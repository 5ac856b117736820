/**
 * Says what the emulated core may do with a page of its address space.
 *
 * Unicorn 2.1 takes a slow path, some 50 ns, for every store to a page from which code
 * may be executed; that a page in memory can be executed is therefore said only once
 * something tries to.
 */
#include <stdbool.h>
#include <stdint.h>

#define PAGE_BITS 12u
#define MAX_PAGES 4096u
#define ACCESS_FETCH 18 /* UC_MEM_FETCH */
#define READ_WRITE 3u
#define READ_WRITE_EXECUTE 7u

struct entry {
    uint64_t address;
    uint32_t permissions;
};

struct pages {
    uint64_t memory_base;
    uint64_t alias_base;
    uint64_t memory_size;
    uint8_t is_code[2 * MAX_PAGES]; /* of the memory, then of its alias */
};

static uint8_t *page_at(struct pages *pages, uint64_t address) {
    uint64_t count = pages->memory_size >> PAGE_BITS;
    if (address - pages->memory_base < pages->memory_size && count <= MAX_PAGES) {
        return &pages->is_code[(address - pages->memory_base) >> PAGE_BITS];
    }
    if (address - pages->alias_base < pages->memory_size && count <= MAX_PAGES) {
        return &pages->is_code[count + ((address - pages->alias_base) >> PAGE_BITS)];
    }
    return 0;
}

/** Called by the core when it needs to know of the page at an address. */
bool on_page(void *core, uint64_t address, int access, struct entry *entry,
             void *user) {
    uint8_t *is_code = page_at(user, address);

    (void)core;
    if (is_code && access == ACCESS_FETCH) {
        *is_code = 1;
    }
    entry->address = address;
    entry->permissions = !is_code || *is_code ? READ_WRITE_EXECUTE : READ_WRITE;
    return true;
}
