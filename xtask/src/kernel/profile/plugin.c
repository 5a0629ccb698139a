/*
 * A plugin for qemu: how often each instruction is executed between two marks.
 *
 * A mark is an instruction that does nothing, with a displacement that nothing else
 * has. What is executed between one that begins and one that ends is written to the
 * file of the argument `out`: a line for each address, and a line "end" behind them.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/*
 * Of qemu-plugin.h, which is not packaged everywhere: version 1 of the interface,
 * which qemu 4.2 to 8.2 have.
 */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, ADD_U64 = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb,
						 size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int cpu, void *data), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
		int op, void *to, uint64_t value);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* "nopl D(%rax,%rax,1)": marks.rs has the same bytes. */
static const uint8_t begin_mark[] = { 0x0f, 0x1f, 0x84, 0x00, 'A', 'I', 'O', 'b' };
static const uint8_t end_mark[] = { 0x0f, 0x1f, 0x84, 0x00, 'A', 'I', 'O', 'e' };

/* Addresses, and how often they were executed; found by hash. */
#define SLOTS	(1u << 20)
static struct { uint64_t address, count; } all[SLOTS];
static uint32_t nr_all, places[2 * SLOTS];

static FILE *out;

static uint64_t *counter(uint64_t address)
{
	uint32_t at = address * 0x9e3779b97f4a7c15 >> 43;

	for (;; at = (at + 1) % (2 * SLOTS)) {
		uint32_t place = places[at];

		if (place && all[place - 1].address == address)
			return &all[place - 1].count;
		if (place)
			continue;
		/* the last one counts for all that find no room: it is told below */
		if (nr_all < SLOTS)
			nr_all++;
		places[at] = nr_all;
		all[nr_all - 1].address = address;
		return &all[nr_all - 1].count;
	}
}

static void begin(unsigned int cpu, void *data)
{
	for (uint32_t i = 0; i < nr_all; i++)
		all[i].count = 0;
}

static void end(unsigned int cpu, void *data)
{
	if (nr_all == SLOTS)
		fprintf(out, "full\n");
	for (uint32_t i = 0; i < nr_all; i++)
		if (all[i].count)
			fprintf(out, "%" PRIx64 " %" PRIu64 "\n", all[i].address,
				all[i].count);
	fprintf(out, "end\n");
	fflush(out);
}

static bool is(const struct qemu_plugin_insn *insn, const uint8_t mark[8])
{
	return qemu_plugin_insn_size(insn) == 8 &&
	       !memcmp(qemu_plugin_insn_data(insn), mark, 8);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is(insn, begin_mark))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin,
							       NO_REGISTERS, NULL);
		else if (is(insn, end_mark))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end,
							       NO_REGISTERS, NULL);
		else
			qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64,
					counter(qemu_plugin_insn_vaddr(insn)), 1);
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
