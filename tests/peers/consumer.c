/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A consumer of a ring between processes, written from SPEC.md alone: sections
 * 5.2, 5.3, 5.5, 7 and appendix F. No header of the project is included, so that
 * the offsets are read a second time.
 *
 * It is killed and stopped at any moment. What it has taken is therefore told in
 * shared memory, in two steps: what it is about to claim, and what it has claimed.
 * Of a consumer that dies between the two, the other side finds out which it was.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* 5.2 */
#define HEAD 0
/* 5.3 */
#define MAGIC 0x324f4941u
#define TAIL 64
#define FLAGS 68
#define DEAD 8u

/* What is told; tests/tests/peers.rs has the same. */
struct slot {
	_Atomic uint64_t done;		/* claims that are complete */
	_Atomic uint64_t begun;		/* the claim that is tried: done + 1, or 0 */
	_Atomic uint64_t count, sum;	/* what it is about */
	_Atomic uint64_t counts[2], sums[2]; /* of all until done, at done % 2 */
	_Atomic uint64_t lost;		/* swaps that another one won */
	_Atomic uint64_t resv[7];
};

static const char *why;

static _Noreturn void fail(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "consumer: %s: %#llx, %#llx\n", what, (unsigned long long)a,
		(unsigned long long)b);
	exit(3);
}

static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Appendix F, 1 to 6. */
static unsigned char *consumer_page, *producer_page, *data;
static uint32_t ring_bytes, event_max;

static void map(int consumer, int producer)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint32_t first[4];
	struct stat st;

	if ((fcntl(consumer, F_GET_SEALS) & seals) != seals ||
	    (fcntl(producer, F_GET_SEALS) & seals) != seals)
		fail("seals", 0, 0);
	if (pread(producer, first, sizeof first, 0) != sizeof first)
		fail("producer page", (uint64_t)errno, 0);
	ring_bytes = first[2];
	event_max = first[3];
	if (first[0] != MAGIC || first[1] != 1)
		fail("magic, version", first[0], first[1]);
	if (ring_bytes < 4096 || ring_bytes > 1u << 30 || ring_bytes & (ring_bytes - 1) ||
	    ring_bytes % page || event_max % 8 || event_max < 24 || event_max > ring_bytes)
		fail("sizes", ring_bytes, event_max);
	if (fstat(consumer, &st) || (uint64_t)st.st_size != page)
		fail("consumer file", (uint64_t)st.st_size, page);
	if (fstat(producer, &st) || (uint64_t)st.st_size != page + ring_bytes)
		fail("producer file", (uint64_t)st.st_size, page + ring_bytes);
	consumer_page = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, consumer, 0);
	producer_page = mmap(NULL, page + 2 * (size_t)ring_bytes, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (consumer_page == MAP_FAILED || producer_page == MAP_FAILED)
		fail("mmap", (uint64_t)errno, 0);
	if (mmap(producer_page, page + ring_bytes, PROT_READ, MAP_SHARED | MAP_FIXED,
		 producer, 0) == MAP_FAILED)
		fail("mmap", (uint64_t)errno, 1);
	data = producer_page + page;
	if (mmap(data + ring_bytes, ring_bytes, PROT_READ, MAP_SHARED | MAP_FIXED,
		 producer, (off_t)page) == MAP_FAILED)
		fail("mmap", (uint64_t)errno, 2);
}

static uint64_t word(uint64_t position)
{
	uint64_t at = position & (ring_bytes - 1);

	return atomic_load_explicit((_Atomic uint64_t *)(data + at), memory_order_relaxed);
}

/* What the test's producer has written, at its position: see event() there. */
static uint64_t check(const uint64_t *event, uint32_t words, uint64_t position)
{
	uint64_t id = event[1], hash = mix(id);

	if ((event[0] >> 32) != (uint32_t)id || words != 3 + (hash >> 32) % 6)
		fail("header", event[0], id);
	if (event[2] != position)
		fail("another place", event[2], position);
	for (uint32_t i = 3; i < words; i++)
		if (event[i] != hash + i)
			fail("torn", event[i], hash + i);
	return hash;
}

#define MOST 64

/* 5.5: up to `most` events; how many. */
static unsigned reap(struct slot *slot, unsigned most, uint64_t *last, unsigned dawdle)
{
	_Atomic uint64_t *head_word = (_Atomic uint64_t *)(consumer_page + HEAD);
	_Atomic uint32_t *tail_word = (_Atomic uint32_t *)(producer_page + TAIL);
	static uint64_t copy[MOST * 8];
	uint64_t head = atomic_load_explicit(head_word, memory_order_acquire);

	for (;;) {
		uint32_t tail = atomic_load_explicit(tail_word, memory_order_acquire);
		uint32_t distance = tail - (uint32_t)head, bytes = 0;
		unsigned count = 0;

		if (!distance)
			return 0;
		why = NULL;
		if (distance % 8 || distance > ring_bytes)
			why = "distance";
		while (!why && count < most && bytes < distance) {
			uint64_t first = word(head + bytes);
			uint32_t len = (uint32_t)first;

			if (len % 8 || len < 8 || len > event_max || len > distance - bytes ||
			    len > 64) {
				why = "length";
				break;
			}
			copy[bytes / 8] = first;
			for (uint32_t i = 8; i < len; i += 8)
				copy[(bytes + i) / 8] = word(head + bytes + i);
			bytes += len;
			count++;
		}
		if (!count) {
			uint64_t same = head;

			if (atomic_compare_exchange_strong_explicit(head_word, &same, head,
					memory_order_release, memory_order_acquire))
				fail(why, head, tail);
			head = same;
			continue;
		}

		/* What is about to be claimed; nobody believes it yet. */
		uint64_t sum = 0, done = atomic_load_explicit(&slot->done, memory_order_relaxed);

		for (uint32_t at = 0; at < bytes; at += (uint32_t)copy[at / 8])
			sum += mix(copy[at / 8 + 1]);
		atomic_store_explicit(&slot->count, count, memory_order_relaxed);
		atomic_store_explicit(&slot->sum, sum, memory_order_relaxed);
		atomic_store_explicit(&slot->begun, done + 1, memory_order_release);
		if (dawdle & 1)
			nanosleep(&(struct timespec){ .tv_nsec = dawdle }, NULL);
		if (!atomic_compare_exchange_strong_explicit(head_word, &head, head + bytes,
				memory_order_release, memory_order_acquire)) {
			atomic_store_explicit(&slot->begun, 0, memory_order_release);
			atomic_fetch_add_explicit(&slot->lost, 1, memory_order_relaxed);
			continue;
		}
		/* Claimed, and not told: who dies here has taken them along. */
		if (dawdle && !(dawdle & 1))
			nanosleep(&(struct timespec){ .tv_nsec = dawdle }, NULL);
		for (uint32_t at = 0; at < bytes; at += (uint32_t)copy[at / 8]) {
			check(&copy[at / 8], (uint32_t)copy[at / 8] / 8, head + at);
			if (*last + 1 > copy[at / 8 + 1])
				fail("order", *last, copy[at / 8 + 1]);
			*last = copy[at / 8 + 1];
		}
		unsigned to = (done + 1) % 2;

		atomic_store_explicit(&slot->counts[to],
			atomic_load_explicit(&slot->counts[!to], memory_order_relaxed) + count,
			memory_order_relaxed);
		atomic_store_explicit(&slot->sums[to],
			atomic_load_explicit(&slot->sums[!to], memory_order_relaxed) + sum,
			memory_order_relaxed);
		atomic_store_explicit(&slot->done, done + 1, memory_order_release);
		return count;
	}
}

/* consumer CONSUMER-FD PRODUCER-FD SLOTS-FD SLOT SEED */
int main(int argc, char **argv)
{
	struct slot *slots;
	uint64_t last = 0, random, empty = 0;
	_Atomic uint32_t *flags;

	if (argc != 6)
		fail("arguments", (uint64_t)argc, 6);
	/* Not beyond a test that fails. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	map(atoi(argv[1]), atoi(argv[2]));
	slots = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[3]), 0);
	if (slots == MAP_FAILED)
		fail("mmap", (uint64_t)errno, 3);
	random = strtoull(argv[5], NULL, 10);
	flags = (_Atomic uint32_t *)(producer_page + FLAGS);
	for (;;) {
		/* Before the look at the ring: 5.3, DEAD is stored after the last tail. */
		uint32_t seen = atomic_load_explicit(flags, memory_order_acquire);
		unsigned dawdle;

		random = mix(random);
		dawdle = random % 1024 ? 0 : (unsigned)(random >> 40) % 200000;
		if (reap(&slots[atoi(argv[4])], 1 + (random >> 20) % MOST, &last, dawdle)) {
			empty = 0;
			continue;
		}
		if (seen & DEAD)
			return 0;
		if (++empty % 16 == 0)
			sched_yield();
	}
}
