/* Counts a process's allocations into a file that others may read while it runs: three 64-bit numbers, allocations, bytes
 * and the largest one since it was last set to zero. benches/requests.py builds it, preloads it and reads the file.
 * A realloc that grows counts as an allocation. Source: ld.so(8), LD_PRELOAD; dlsym(3), RTLD_NEXT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uint64_t nowhere[3];
static _Atomic uint64_t *counts = nowhere;
static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);

/* dlsym itself may call calloc before the real one is known. */
static char early[4096];
static size_t early_used;

__attribute__((constructor)) static void begin(void) {
    real_malloc = dlsym(RTLD_NEXT, "malloc");
    real_calloc = dlsym(RTLD_NEXT, "calloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    const char *path = getenv("ALLOCATIONS_FILE");
    int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file < 0 || ftruncate(file, sizeof nowhere) != 0) return;
    void *map = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) counts = map;
    close(file);
}

static void count(size_t bytes) {
    counts[0] += 1;
    counts[1] += bytes;
    uint64_t largest = counts[2];
    while (bytes > largest && !__atomic_compare_exchange_n((uint64_t *)&counts[2], &largest, bytes, 0, 5, 5)) {}
}

void *malloc(size_t bytes) {
    if (!real_malloc) real_malloc = dlsym(RTLD_NEXT, "malloc");
    count(bytes);
    return real_malloc(bytes);
}

void *calloc(size_t members, size_t bytes) {
    if (!real_calloc) {
        size_t wanted = (members * bytes + 15) & ~(size_t)15;
        if (early_used + wanted > sizeof early) abort();
        early_used += wanted;
        return early + early_used - wanted;
    }
    count(members * bytes);
    return real_calloc(members, bytes);
}

void *realloc(void *old, size_t bytes) {
    if (!real_realloc) real_realloc = dlsym(RTLD_NEXT, "realloc");
    count(bytes);
    return real_realloc(old, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    if (!real_posix_memalign) real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    count(bytes);
    return real_posix_memalign(out, alignment, bytes);
}
