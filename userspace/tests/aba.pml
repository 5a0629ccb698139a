/*
 * Why the head word is 64 bits wide: the ring with positions modulo M.
 *
 *     spin -DM=4 -search userspace/tests/aba.pml     fails
 *     spin -DM=8 -search userspace/tests/aba.pml     passes
 *
 * A consumer loads head, copies an event, and swaps head if it still has the
 * same value. If it sleeps before the swap while the positions come round,
 * head has the value and is another one. With N events, M above N is as good
 * as a word that never comes round. SPEC: R-RING-11, R-RING-12.
 */
#ifndef M
#define M 8		/* a multiple of SIZE */
#endif
#define N 6		/* events */
#define SIZE 2		/* events that the ring holds */

byte head, tail, taken;
byte data[SIZE];
byte seen[N];

active proctype producer()
{
	byte id, used;

	do
	:: id == N -> break
	:: id < N ->
		used = (tail + M - head) % M;
		if
		:: used < SIZE ->
			data[tail % SIZE] = id;
			tail = (tail + 1) % M;
			id++
		:: else
		fi
	od
}

active [2] proctype consumer()
{
	byte old, new, copy;

	do
	:: taken == N -> break
	:: taken < N ->
		old = head;
		new = tail;
		if
		:: old == new
		:: else ->
			copy = data[old % SIZE];
			atomic {
				if
				:: head == old ->
					head = (old + 1) % M;
					seen[copy]++;
					taken++;
					assert(seen[copy] == 1)
				:: else
				fi
			}
		fi
	od
}
