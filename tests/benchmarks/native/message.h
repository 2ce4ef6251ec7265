/* What clients send, and what must come back: for native/load.c.
 *
 * A client's messages are one stream of bytes, in which each can be told from its place. A message is
 * the number of its client and its own, in 16 hexadecimal digits; filler; and LF. So no answer can stand
 * in for another, and all messages are lines.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STAMP = 16 };
static uint64_t size = 100; /* bytes of a message, more than STAMP */
static char *filler;

static void make_filler(void) {
    filler = malloc(size);
    if (!filler) abort();
    for (uint64_t i = 0; i < size; i++) filler[i] = 'a' + i % 26;
    filler[size - 1] = '\n';
}

/* Write so many bytes of the stream of a client, whose first message has a number, from an offset on. */
static void produce(uint32_t client, uint32_t first, uint64_t offset, size_t length, char *out) {
    while (length) {
        uint64_t at = offset % size, stamp = (uint64_t)client << 32 | (uint32_t)(first + offset / size);
        size_t count = size - at < length ? size - at : length;
        memcpy(out, filler + at, count);
        for (uint64_t i = at; i < STAMP && i < at + count; i++)
            out[i - at] = "0123456789abcdef"[stamp >> 4 * (STAMP - 1 - i) & 15];
        offset += count, length -= count, out += count;
    }
}
