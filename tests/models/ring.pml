/*
 * ring.pml - the queue ring: one writer (the store) that never waits, a reader
 * that is lapped, goes on from the log and merges back. Everything the reader
 * copies out is what was logged, each offset passes once, in order, and in the
 * end it has read all that there is, though stores die between any two steps
 * and each new store makes a new ring.
 *
 * A cell holds one record, written and read in two halves, so that a copy can
 * be torn.
 *
 * Stands for:
 * src/shm/ring.c: lt_ring_writer_init retire intend lt_ring_put lt_ring_commit
 * src/shm/ring.c: lapped lt_ring_peek lt_ring_copy lt_ring_skip lt_ring_seek
 * src/shm/ring.c: lt_ring_next_offset
 * src/store/publish.c: append feed commit_feeds index_batch
 * src/store/feed.c: lt_feed_ring
 * src/client/take.c: lt_take_begin from_ring leave_ring from_fetch refill
 * src/client/fetched.c: lt_fetched_ask
 * src/client/take.c: take_one copy_out pass_gap
 * src/client/inlet.c: settle take_ring lt_inlet_subscribe
 * src/queue/ringset.c: lt_ringset_max ring_done lt_ringset_store_gone
 *
 * Proof: -DDEATHS=0 -DN=6
 * Proof: -DDEATHS=1
 * Long: -DDEATHS=2 -DN=6
 * Mutant: NO_INTENT
 * Mutant: NO_CHECK_BEHIND_COPY
 * Mutant: COMMIT_BEFORE_DATA
 * Mutant: COMMIT_BEFORE_LOG
 * Mutant: SEEK_BY_STALE_END
 * Mutant: MERGE_AT_COMMIT
 * Mutant: NEXT_OF_THE_RING
 * Mutant: NEXT_BEHIND_COMMIT
 * Mutant: KEEP_POSITION
 */
#ifndef N
#define N 5
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define CELLS 2

typedef ring_t {
	byte intent, commit, tail, tail_offset, next;
	byte a[CELLS]; /* the two halves of a record: its offset + 1 */
	byte b[CELLS]
};
ring_t ring[DEATHS + 1];

byte logged; /* the log holds offsets below */
byte store_gen; /* 0: no store now */
byte gens;
bit kill_store;

byte handed; /* ghost: the reader has passed these */

/* --- store ------------------------------------------------------------------ */

active proctype store()
{
	byte g, pos, first, at, count, put, t;
start:
	{
		/* A new ring begins at the end of the log. */
		d_step {
			g = gens;
			gens++;
			first = logged; /* offset of position 0 */
			pos = 0; t = 0; put = 0;
			ring[g].tail_offset = first;
			ring[g].next = first;
			store_gen = gens
		};
		do
		:: logged < N ->
			/* One append, then the ring; batches of any size. */
			if
			:: count = 1
			:: logged + 2 <= N -> count = 2
			fi;
#ifndef COMMIT_BEFORE_LOG
			logged = logged + count;
#endif
			put = 0;
			do
			:: put < count ->
				/* retire: what [.., pos + 1) overwrites goes */
				d_step {
					do
					:: t < pos && pos + 1 > t + CELLS -> t++
					:: else -> break
					od;
					ring[g].tail_offset = first + t
				};
				ring[g].tail = t;
#ifndef NO_INTENT
				ring[g].intent = pos + 1; /* release fence */
#endif
#ifdef COMMIT_BEFORE_DATA
				ring[g].commit = pos + 1;
#endif
				ring[g].a[pos % CELLS] = first + pos + 1;
				ring[g].b[pos % CELLS] = first + pos + 1;
				pos++;
				put++
			:: put == count -> break
			od;
#ifdef NEXT_BEHIND_COMMIT
			ring[g].commit = pos;
			ring[g].next = first + pos;
#else
			ring[g].next = first + pos;
			ring[g].commit = pos; /* release */
#endif
#ifdef COMMIT_BEFORE_LOG
			logged = logged + count;
#endif
			put = 0; count = 0
		od
	} unless { kill_store };
	d_step {
		kill_store = 0; store_gen = 0;
		g = 0; pos = 0; first = 0; at = 0; count = 0; put = 0; t = 0
	};
	goto start
}

/* --- reader -------------------------------------------------------------------- */

#define FROM_LOG 0
#define FROM_RING 1

active proctype reader()
{
	byte gen, r, pos, commit, next, a, b, offset, end, source;

#define LAPPED (ring[r].intent > pos && ring[r].intent - pos > CELLS)
#define RELOAD commit = ring[r].commit

	do
	/* A new store: EV_MOVED, subscribed again with `next`, a new ring. */
	:: atomic { store_gen != 0 && gen != store_gen ->
		gen = store_gen;
		r = gen - 1;
#ifndef KEEP_POSITION
		pos = 0; commit = 0;
		source = FROM_LOG
#endif
		}
#ifdef NEXT_OF_THE_RING
		next = ring[r].next
#endif

	/* lt_take_begin, refill: back to the ring if that has `next`. */
	:: source == FROM_LOG && gen != 0 ->
		RELOAD;
		end = ring[r].next; /* acquire */
		if
#ifdef SEEK_BY_STALE_END
		:: end > next || commit == 0 ->
			pos = commit; source = FROM_RING
#endif
		:: next >= end -> /* not there yet: at the end of the ring */
			pos = commit; source = FROM_RING
		:: next < end ->
			pos = ring[r].tail;
			if
			:: pos > commit -> RELOAD
			:: else
			fi;
			if
			:: pos > commit -> skip /* LAPPED */
			:: pos == commit && next >= ring[r].tail_offset ->
				source = FROM_RING
			:: pos == commit && next < ring[r].tail_offset -> skip
			:: pos < commit ->
				offset = ring[r].a[pos % CELLS];
				if
				:: LAPPED -> skip
				:: else ->
					offset = offset - 1;
#ifdef MERGE_AT_COMMIT
					source = FROM_RING; pos = commit
#else
					if
					:: next < offset -> skip /* LAPPED */
					:: next >= offset ->
						source = FROM_RING
					fi
#endif
				fi
			fi
		fi;
		offset = 0; end = 0;
		if
		:: source == FROM_RING
		:: source == FROM_LOG -> /* fetch: some of what is logged */
			if
			:: next < logged ->
				atomic { assert(handed == next);
				next++; handed++ }
			:: else
			fi
		fi

	:: source == FROM_RING && pos >= commit && ring[r].commit != pos ->
		RELOAD;
		assert(pos <= commit) /* else CORRUPT */
	:: source == FROM_RING && pos < commit ->
		/* peek, then copy */
		a = ring[r].a[pos % CELLS];
		if
		:: LAPPED -> source = FROM_LOG
		:: else ->
			assert(a != 0);
			if
			:: a - 1 < next -> pos++ /* seen already */
			:: a - 1 >= next ->
				assert(a - 1 == next); /* no gap */
				b = ring[r].b[pos % CELLS];
				if
#ifndef NO_CHECK_BEHIND_COPY
				:: LAPPED -> source = FROM_LOG /* OVERRUN */
				:: !LAPPED ->
#else
				:: true ->
#endif
					atomic {
					assert(a == b); /* not torn */
					assert(a - 1 < logged); /* in the log */
					assert(handed == a - 1);
					next = a; handed = a;
					pos++ }
				fi
			fi
		fi;
		a = 0; b = 0
	od
}

active proctype fate()
{
	byte deaths;

	do
	:: atomic { deaths < DEATHS && store_gen != 0 && !kill_store ->
		deaths++; kill_store = 1 }
	:: break
	od;
	timeout;
	assert(logged == N);
	assert(handed == N)
}
