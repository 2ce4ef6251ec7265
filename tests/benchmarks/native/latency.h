/* The clock, and how many answers took how long: for native/load.c. */
#include <stdint.h>
#include <string.h>
#include <time.h>

/* Nanoseconds of a clock that only goes forward. */
static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Exact below 128 ns, then 64 buckets for each power of two: off by 1 % at most. */
enum { EXACT = 128, EACH = 64 };
static uint64_t buckets[EXACT + 57 * EACH], longest;

static void forget(void) {
    memset(buckets, 0, sizeof buckets);
    longest = 0;
}

static void record(uint64_t ns, uint64_t count) {
    if (ns > longest) longest = ns;
    int exponent = ns < EXACT ? 0 : 63 - __builtin_clzll(ns);
    buckets[ns < EXACT ? ns : EXACT + (exponent - 7) * EACH + (ns >> (exponent - 6)) % EACH] += count;
}

/* Microseconds that so large a fraction of the answers took at most. */
static double percentile(double fraction) {
    uint64_t total = 0, below = 0, i = 0, count = sizeof buckets / sizeof *buckets;
    for (uint64_t j = 0; j < count; j++) total += buckets[j];
    if (!total) return 0;
    while ((below += buckets[i]) < fraction * total) i++;
    if (i < EXACT) return i / 1e3;
    int exponent = 7 + (i - EXACT) / EACH;
    return (EACH + (i - EXACT) % EACH + 0.5) * (1ull << (exponent - 6)) / 1e3;
}
