/* Counting: time, a log-linear histogram (error under 1.6 %), and what each delivery says about loss and order. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

#define LINEAR 64 /* values below are exact; above, 64 steps to each doubling */

uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static unsigned bucket_of(uint64_t value) {
    if (value < LINEAR) return (unsigned)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value); /* 6 and up */
    unsigned bucket = (octave - 5) * LINEAR + (unsigned)((value >> (octave - 6)) - LINEAR);
    return bucket < 2560 ? bucket : 2559;
}

static uint64_t value_of(unsigned bucket) {
    if (bucket < LINEAR) return bucket;
    unsigned octave = bucket / LINEAR + 5;
    return ((uint64_t)(bucket % LINEAR + LINEAR) << (octave - 6)) + (1ull << (octave - 6)) / 2;
}

void record(struct histogram *into, uint64_t value) {
    into->buckets[bucket_of(value)]++;
    into->count++;
    into->sum += (double)value;
    if (value > into->most) into->most = value;
}

uint64_t percentile(const struct histogram *of, double part) {
    uint64_t wanted = (uint64_t)((double)of->count * part + 0.5), seen = 0;
    for (unsigned i = 0; i < 2560; i++) {
        seen += of->buckets[i];
        if (seen >= wanted && seen) return value_of(i) < of->most ? value_of(i) : of->most;
    }
    return of->most;
}

static uint64_t digits(const char *at, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++) value = value * 10 + (uint64_t)(at[i] - '0');
    return value;
}

static void put_digits(char *at, int count, uint64_t value) {
    for (int i = count - 1; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
}

void write_mark(char *at, uint64_t time, uint32_t room, uint32_t source, uint32_t number) {
    put_digits(at + MARK_TIME, 16, time);
    put_digits(at + MARK_ROOM, 6, room);
    put_digits(at + MARK_SOURCE, 2, source);
    put_digits(at + MARK_NUMBER, 8, number);
}

/* Every mark in the bytes is one delivery to this connection. A number above the next one is a gap; one that is not
 * above the last is late (repeated, or out of order). What was published before this run began does not count. */
void count_deliveries(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    const char *end = bytes + length;
    struct figures *run = &bench.run;
    while ((size_t)(end - bytes) >= MARK_LENGTH && (bytes = memmem(bytes, (size_t)(end - bytes), "@t=", 3))) {
        if (end - bytes < MARK_LENGTH) break;
        uint32_t room = (uint32_t)digits(bytes + MARK_ROOM, 6), source = (uint32_t)digits(bytes + MARK_SOURCE, 2);
        uint32_t number = (uint32_t)digits(bytes + MARK_NUMBER, 8);
        uint64_t sent = digits(bytes + MARK_TIME, 16);
        if (room != c->room || source >= bench.sources) {
            complain("a delivery for another room", bytes, MARK_LENGTH);
            run->errors++;
        } else if (c->muted) {
            run->stale++;
        } else if (number > c->last[source]) {
            run->gaps += number - c->last[source] - 1;
            c->last[source] = number;
            run->received++;
            run->last_delivery = now;
            record(&run->latency, now > sent ? now - sent : 0);
        } else {
            run->late++;
        }
        bytes += MARK_LENGTH;
    }
}

void complain(const char *what, const char *bytes, size_t length) {
    if (bench.complaint[0]) return;
    snprintf(bench.complaint, sizeof bench.complaint, "%s: %.*s", what, (int)(length < 100 ? length : 100), bytes);
    for (char *p = bench.complaint; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 32 || (unsigned char)*p > 126) *p = '\'';
}
