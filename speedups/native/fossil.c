/* Fossil deltas. What a delta is, and where it cuts, is ../pure/fossil.py's to say; both give the same bytes.

   The source's blocks are in a hash table, whose key an outsider cannot know: no choice of payloads makes it slow. */

#include "speedups.h"

enum { BLOCK = 16, MAX_TRIMMED = 3, MAX_NUMBER = 11, NOWHERE = -1 };

static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

typedef struct {
    byte *data;
    size_t size, room;
    int failed;
} Output;

static void write_bytes(Output *out, const void *from, size_t size)
{
    byte *larger;
    size_t room = out->room;
    if (out->failed)
        return;
    if (size > room - out->size) {
        while (size > room - out->size)
            room *= 2;
        larger = PyMem_Realloc(out->data, room);
        if (larger == NULL) {
            out->failed = 1;
            return;
        }
        out->data = larger;
        out->room = room;
    }
    memcpy(out->data + out->size, from, size);
    out->size += size;
}

/* A number and the byte that follows it. */
static void write_number(Output *out, uint64_t value, char what)
{
    char text[MAX_NUMBER + 1], *end = text + sizeof text, *start = end;
    *--start = what;
    do {
        *--start = DIGITS[value & 63];
        value >>= 6;
    } while (value);
    write_bytes(out, start, (size_t)(end - start));
}

static void write_copy(Output *out, Py_ssize_t size, Py_ssize_t from)
{
    write_number(out, (uint64_t)size, '@');
    write_number(out, (uint64_t)from, ',');
}

static void write_insert(Output *out, const byte *from, Py_ssize_t size)
{
    write_number(out, (uint64_t)size, ':');
    write_bytes(out, from, (size_t)size);
}

static uint32_t checksum(const byte *data, Py_ssize_t size)
{
    uint32_t sum = 0;
    Py_ssize_t i;
    for (i = 0; size - i >= 4; i += 4)
        sum += (uint32_t)data[i] << 24 | (uint32_t)data[i + 1] << 16 | (uint32_t)data[i + 2] << 8 | data[i + 3];
    for (; i < size; i++)
        sum += (uint32_t)data[i] << (24 - 8 * (i & 3));
    return sum;
}

static Py_ssize_t same_forwards(const byte *a, const byte *b, Py_ssize_t most)
{
    Py_ssize_t same = 0;
    while (same < most && a[same] == b[same])
        same++;
    return same;
}

static Py_ssize_t same_backwards(const byte *a, const byte *b, Py_ssize_t most)
{
    Py_ssize_t same = 0;
    while (same < most && a[-1 - same] == b[-1 - same])
        same++;
    return same;
}

static int begins(byte value)
{
    return (value & 0xC0) != 0x80;
}

static Py_ssize_t cut_after(const byte *target, Py_ssize_t place, Py_ssize_t most)
{
    Py_ssize_t further;
    for (further = place; further <= most && further <= place + MAX_TRIMMED; further++)
        if (further == most || begins(target[further]))
            return further;
    return place;
}

static Py_ssize_t cut_before(const byte *target, Py_ssize_t size, Py_ssize_t place, Py_ssize_t least)
{
    Py_ssize_t further;
    for (further = place; further >= least && further >= place - MAX_TRIMMED; further--)
        if (further == least || further == size || begins(target[further]))
            return further;
    return place;
}

/* The source's blocks */

typedef struct {
    const byte *source;
    Py_ssize_t *first;     /* by hash: where a block is first; or NOWHERE */
    Py_ssize_t *following; /* by number of the block: where the same comes next; or NOWHERE */
    size_t mask;
    uint64_t keys[2];
} Blocks;

static uint64_t mixed(uint64_t value)
{
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

/* The slot of a block: its own, or the free one that it may have. */
static Py_ssize_t *slot_of(const Blocks *blocks, const byte *block)
{
    uint64_t words[2];
    size_t place;
    memcpy(words, block, BLOCK);
    place = (size_t)mixed(mixed(words[0] ^ blocks->keys[0]) ^ words[1] ^ blocks->keys[1]);
    for (;; place++) {
        Py_ssize_t *slot = blocks->first + (place & blocks->mask);
        if (*slot == NOWHERE || memcmp(blocks->source + *slot, block, BLOCK) == 0)
            return slot;
    }
}

static int make_blocks(Blocks *blocks, const byte *source, Py_ssize_t size)
{
    Py_ssize_t count = size / BLOCK, number, *slot;
    size_t slots = 2, i;
    while (slots < 2 * (size_t)count)
        slots *= 2;
    blocks->source = source;
    blocks->mask = slots - 1;
    blocks->first = PyMem_Malloc((slots + (size_t)count) * sizeof *blocks->first);
    if (blocks->first == NULL)
        return 0;
    blocks->following = blocks->first + slots;
    blocks->keys[0] = mixed((uint64_t)(uintptr_t)&number);
    blocks->keys[1] = mixed((uint64_t)(uintptr_t)&PyMem_Malloc ^ blocks->keys[0]);
    for (i = 0; i < slots; i++)
        blocks->first[i] = NOWHERE;
    for (number = count - 1; number >= 0; number--) {
        slot = slot_of(blocks, source + number * BLOCK);
        blocks->following[number] = *slot;
        *slot = number * BLOCK;
    }
    return 1;
}

/* Where the source has this block: the last such place up to `expected`, but none before what was found earlier. */
static Py_ssize_t find(const Blocks *blocks, const byte *block, Py_ssize_t expected)
{
    Py_ssize_t *slot = slot_of(blocks, block), next;
    if (*slot != NOWHERE)
        while ((next = blocks->following[*slot / BLOCK]) != NOWHERE && next <= expected)
            *slot = next;
    return *slot;
}

static void write_middle(Output *out, const Blocks *blocks, Py_ssize_t source_size, const byte *target,
                         Py_ssize_t target_size, Py_ssize_t begin, Py_ssize_t end)
{
    const byte *source = blocks->source;
    Py_ssize_t written = begin, place = begin, shift = 0, found, before, after, start, stop, most;
    while (place + BLOCK <= end) {
        found = place + shift;
        if (found < 0 || found > source_size - BLOCK || memcmp(source + found, target + place, BLOCK) != 0) {
            found = find(blocks, target + place, found);
            if (found == NOWHERE) {
                place++;
                continue;
            }
        }
        most = found < place - written ? found : place - written;
        before = same_backwards(source + found, target + place, most);
        most = (source_size - found < end - place ? source_size - found : end - place) - BLOCK;
        after = BLOCK + same_forwards(source + found + BLOCK, target + place + BLOCK, most);
        start = cut_after(target, place - before, place + after);
        stop = cut_before(target, target_size, place + after, start);
        shift = found - place;
        if (start > written)
            write_insert(out, target + written, start - written);
        write_copy(out, stop - start, start + shift);
        written = place = stop;
    }
    if (end > written)
        write_insert(out, target + written, end - written);
}

static int write_delta(Output *out, const byte *source, Py_ssize_t source_size, const byte *target,
                       Py_ssize_t target_size)
{
    Py_ssize_t most = source_size < target_size ? source_size : target_size, head, tail;
    Blocks blocks = {.first = NULL};
    write_number(out, (uint64_t)target_size, '\n');
    head = cut_before(target, target_size, same_forwards(source, target, most), 0);
    if (head < BLOCK)
        head = 0;
    tail = same_backwards(source + source_size, target + target_size, most - head);
    tail = target_size - cut_after(target, target_size - tail, target_size);
    if (tail < BLOCK)
        tail = 0;
    if (head)
        write_copy(out, head, 0);
    if (target_size - tail - head >= BLOCK) {
        if (!make_blocks(&blocks, source, source_size))
            return 0;
        write_middle(out, &blocks, source_size, target, target_size, head, target_size - tail);
        PyMem_Free(blocks.first);
    } else if (target_size - tail > head)
        write_insert(out, target + head, target_size - tail - head);
    if (tail)
        write_copy(out, tail, source_size - tail);
    write_number(out, checksum(target, target_size), ';');
    return !out->failed;
}

FUNCTION(fossil_delta)
{
    const byte *source, *target;
    Py_ssize_t source_size, target_size;
    Output out = {.room = 256};
    PyObject *result = NULL;
    (void)module;
    if (!has_arguments("fossil_delta", count, 2) || (source = bytes_of(args[0], &source_size)) == NULL ||
        (target = bytes_of(args[1], &target_size)) == NULL)
        return NULL;
    out.data = PyMem_Malloc(out.room);
    if (out.data == NULL)
        return PyErr_NoMemory();
    if (write_delta(&out, source, source_size, target, target_size))
        result = PyBytes_FromStringAndSize((const char *)out.data, (Py_ssize_t)out.size);
    else
        PyErr_NoMemory();
    PyMem_Free(out.data);
    return result;
}
