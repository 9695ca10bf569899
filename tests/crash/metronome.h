/*
 * metronome.h - the control party of a test that judges waits: one process on
 * each CPU which has nothing to do with a broker. It sleeps a moment, wakes,
 * and notes when it was woken late: what held it up held up everybody. One more
 * notes when a disk had requests and completed none: what waits for it then, a
 * write of the page cache among that where the file system holds a file while
 * it syncs it (ext4 without a journal), is held up by the machine, too.
 */
#ifndef TESTS_CRASH_METRONOME_H
#define TESTS_CRASH_METRONOME_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define METRONOME_CPUS 64u /* those beyond have none */
#define METRONOME_LATES 65536u /* of one CPU; those beyond are forgotten */
#define METRONOME_PERIOD_US 500u
#define METRONOME_LATE_US 500u /* later than this is noted */
#define METRONOME_DISK_PERIOD_US 2000u
#define METRONOME_DISK_LATE_US 5000u

struct metronome_late {
	uint64_t from_ns, to_ns; /* when it was to wake, when it did */
};

/* Shared by all: made before any fork. */
struct metronome {
	_Atomic uint32_t stop;
	uint32_t cpus; /* and the one for disks */
	pid_t pid[METRONOME_CPUS];
	struct {
		_Atomic uint32_t count; /* that one writes it, all read */
		struct metronome_late late[METRONOME_LATES];
	} cpu[METRONOME_CPUS];
};

/* NULL when there is no memory. */
struct metronome *metronome_create(void);
void metronome_destroy(struct metronome *m);
/* One process on each CPU that this one may use, and one for disks. */
void metronome_start(struct metronome *m);
void metronome_stop(struct metronome *m);
/* The longest single time within from..to in which one was late. */
uint64_t metronome_late_ns(
    const struct metronome *m, uint64_t from_ns, uint64_t to_ns);
/* What the hypervisor kept from all CPUs since the machine started. */
uint64_t metronome_steal_ms(void);

#endif
