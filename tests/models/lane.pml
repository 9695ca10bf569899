/*
 * lane.pml - the publish lane: what one client puts into its lane gets into
 * the log exactly once and in order, and is answered truly, whoever dies
 * between any two steps: the client, the store, the queue manager, or the
 * whole broker (then the client salvages its old lane).
 *
 * A record is one cell, its body its sequence. The log outlives everything;
 * lane and kept page outlive store and queue manager; what the client has
 * mapped lives as long as the client. Refusals and a full disk happen at any
 * time.
 *
 * Stands for:
 * src/shm/lane.c: lt_lane_claim lt_lane_put lt_lane_publish
 * src/shm/lane.c: lt_lane_poll lt_lane_peek lt_lane_next
 * src/store/batch.c: take_turn take admit add_duplicate
 * src/store/publish.c: append refuse complete show lt_publish_run
 * src/store/session.c: attach_new attach_again copy_page start_lane
 * src/store/session.c: lt_session_finish_detaching
 * src/store/mark.c: lt_mark_is_logged lt_mark_find_traces
 * src/queue/attach.c: lt_attach_page lt_attach_send take_page lt_attach_all
 * src/queue/session.c: lt_session_end lt_session_drop lt_session_kept
 * src/queue/hello.c: resume welcome
 * src/client/producer.c: finish lt_producer_announce
 * src/client/receipt.c: lt_receipt_harvest
 * src/client/lanes.c: head_of lt_lanes_salvage lt_lanes_refill
 * src/client/connect.c: lt_connect_page lt_connect_welcome
 *
 * Proof: -DSTORE_DEATHS=1
 * Proof: -DSTORE_DEATHS=0 -DMANAGER_DEATHS=1
 * Long: -DMANAGER_DEATHS=1
 * Proof: -DBROKER_DEATHS=1 -DSTORE_DEATHS=0
 * Long: -DBROKER_DEATHS=1
 * Long: -DMANAGER_DEATHS=1 -DBROKER_DEATHS=1
 * Long: -DSTORE_DEATHS=2 -DMANAGER_DEATHS=1
 * Mutant: HEAD_BEFORE_LOG
 * Mutant: HEAD_BEFORE_DONE
 * Mutant: LOGGED_BEFORE_DONE
 * Mutant: NO_DEDUP
 * Mutant: TAIL_BEFORE_RECORD
 * Mutant: REUSE_UNSEEN
 * Mutant: KEEP_BEFORE_COPY -DMANAGER_DEATHS=1
 * Mutant: DROP_BEFORE_DRAIN
 * Mutant: TAKEN_BEHIND_REFUSED
 * Mutant: NEW_BEFORE_BACKLOG -DBROKER_DEATHS=1 -DSTORE_DEATHS=0
 * Mutant: NO_SALVAGE -DBROKER_DEATHS=1 -DSTORE_DEATHS=0
 * Mutant: NO_OLD_PAGE
 * Mutant: HIDDEN_REFUSAL -DSTORE_DEATHS=2 -DMANAGER_DEATHS=1
 */
#ifndef N
#define N 3 /* messages */
#endif
#define CELLS 2 /* of a lane */
#define BATCH 2 /* records of an append */
#ifndef STORE_DEATHS
#define STORE_DEATHS 1
#endif
#ifndef MANAGER_DEATHS
#define MANAGER_DEATHS 0
#endif
#ifndef BROKER_DEATHS
#define BROKER_DEATHS 0
#endif
#define PAGES 7
#define NONE 7

#define OK 1 /* completions */
#define REFUSED 2
#define AGAIN 3 /* OK, and the log had it already */

typedef lane_t {
	byte tail;
	byte cell[CELLS];
	byte put[N] /* ghost: what belongs at each position */
};
typedef page_t {
	byte gen; /* of the store that writes it */
	byte logged;
	byte head;
	byte done[N]
};

lane_t lane[2];
page_t page[PAGES];
byte pages; /* made so far */

bit in_log[N]; /* the log; sequences are 1.., entry seq - 1 */
byte last; /* newest sequence there */

byte told[N]; /* ghost: what the client was told */
bit turned_away[N]; /* ghost: completed as refused, */
bit was_refused[N]; /* now or by a store that died */

byte store_gen, gens; /* 0: no store now */
byte boot = 1;
bit kill_store, kill_manager, kill_client, client_dead;

byte kept_lane = NONE, kept_page = NONE; /* by the supervisor */
bit session_over;

byte attached_to; /* queue manager: store that has the session */
mtype = {NOTHING, ATTACH, DETACH, ATTACHED, DETACHED};
mtype talk = NOTHING; /* with the store; lost when one of them dies */
byte talk_new, talk_old;
byte manager_gen;

byte c_boot; /* of the broker the client is connected to */
byte c_lane = NONE, c_page = NONE;

/*
 * The limit: a refusal that only the page of a dead store knows, never kept or
 * never seen by the client, looks like a record that is older than the traces.
 */
#define UNKEPT(i) (turned_away[i] && (kept_page == NONE ||                       \
	page[kept_page].logged <= i))
#define UNSEEN(i) (turned_away[i] && !client_dead && c_page != NONE &&           \
	page[c_page].logged <= i)
#ifdef HIDDEN_REFUSAL
#define NOT_HIDDEN(what) true
#else
#define NOT_HIDDEN(what) !(what(0) || what(1) || what(2))
#endif

/* --- store ------------------------------------------------------------------ */

active proctype store()
{
	byte my_page, my_lane, fresh, old, asker, head, tail, taken, newest, i, n, seq;
	byte rec[BATCH], status[BATCH];
	bit has, refused;
start:
	{
		/* Recovery. */
		d_step { gens++; newest = last };
		store_gen = gens;
		do
		:: atomic { talk == ATTACH && has && my_page == talk_new ->
			talk = ATTACHED } /* the queue manager is new */
#ifndef KEEP_BEFORE_COPY
		/* Drained for the queue manager before this one: the page is
		 * sealed and cannot be mapped again; the session is dropped. */
		:: atomic { talk == ATTACH && !has && talk_new == kept_page ->
			talk = DETACHED }
		:: atomic { talk == ATTACH && !(has && my_page == talk_new) &&
			!(!has && talk_new == kept_page) ->
#else
		:: atomic { talk == ATTACH && !(has && my_page == talk_new) ->
#endif
				/* copy_page: nobody reads the new one yet */
				fresh = talk_new; old = talk_old;
				asker = manager_gen;
				if
				:: has -> old = my_page
				:: else -> my_lane = kept_lane
				fi;
#ifndef NO_OLD_PAGE
				if
				:: old != NONE ->
					page[fresh].logged =
					    page[old].logged;
					do
					:: i < N ->
						page[fresh].done[i] =
						    page[old].done[i];
						i++
					:: else -> break
					od;
					i = 0
				:: else
				fi
#endif
				skip }
			d_step { /* start_lane, show */
				if
				:: !has ->
					taken = page[fresh].logged;
					if
					:: old == NONE -> head = 0
					:: else -> head = page[old].head
					fi;
					if
					:: lane[my_lane].tail == 0 -> head = 0
					:: else
					fi
				:: else
				fi;
				my_page = fresh;
				has = 1;
				page[my_page].logged = taken;
				page[my_page].head = head
			};
			atomic { /* unless who asked has died */
				if
				:: asker == manager_gen -> talk = ATTACHED
				:: else
				fi;
				fresh = 0; old = 0; asker = 0 }
#ifdef DROP_BEFORE_DRAIN
		:: atomic { talk == DETACH && has ->
			has = 0; talk = DETACHED }
#else
		:: atomic { talk == DETACH && has && head == lane[my_lane].tail ->
			has = 0; talk = DETACHED }
#endif
		:: has && head != lane[my_lane].tail ->
			tail = lane[my_lane].tail;
			do
			:: atomic { head != tail && n < BATCH ->
				seq = lane[my_lane].cell[head % CELLS];
				assert(seq == lane[my_lane].put[head]);
				if
				:: seq <= taken -> head++; seq = 0
#ifndef NO_DEDUP
				/* With traces or without: it is older. */
				:: seq > taken && seq <= newest ->
					rec[n] = seq; status[n] = AGAIN;
					n++; head++; taken = seq; seq = 0
				:: seq > taken && seq > newest ->
#else
				:: seq > taken ->
#endif
					if
					:: rec[n] = seq; status[n] = REFUSED;
						refused = 1; n++; head++;
						taken = seq; seq = 0
#ifndef TAKEN_BEHIND_REFUSED
					:: refused -> seq = 0; break
					:: !refused ->
#else
					::
#endif
						rec[n] = seq; status[n] = OK;
						n++; head++; taken = seq; seq = 0
					fi
				fi }
			:: !(head != tail && n < BATCH) -> break
			od;
#ifdef HEAD_BEFORE_LOG
			page[my_page].head = head;
#endif
			if
			:: skip
			:: d_step { /* refuse: no space, nothing was written */
				do
				:: i < n ->
					if
					:: status[i] == OK -> status[i] = REFUSED
					:: else
					fi;
					i++
				:: else -> break
				od;
				i = 0 }
			fi;
			/* A death within an append leaves whole records. */
			do
			:: d_step { i < n ->
				if
				:: status[i] == OK ->
					assert(!in_log[rec[i] - 1]);
					assert(told[rec[i] - 1] == 0);
					assert(rec[i] > last); /* in order */
					in_log[rec[i] - 1] = 1;
					last = rec[i]
				:: else
				fi;
				i++ }
			:: i == n -> break
			od;
#ifdef HEAD_BEFORE_DONE
			page[my_page].head = head;
#endif
#ifdef LOGGED_BEFORE_DONE
			page[my_page].logged = taken;
#endif
			atomic { /* complete */
				do
				:: i > 0 ->
					i--;
					seq = rec[i] - 1;
					page[my_page].done[seq] = status[i];
					was_refused[seq] = was_refused[seq] ||
					    (status[i] == REFUSED);
					rec[i] = 0; status[i] = 0
				:: else -> break
				od;
				n = 0; seq = 0; refused = 0
			};
			d_step { /* show: the counter, then the head */
				do
				:: page[my_page].logged < taken ->
					seq = page[my_page].logged;
					turned_away[seq] =
					    (page[my_page].done[seq] == REFUSED);
					page[my_page].logged = seq + 1
				:: else -> break
				od;
				seq = 0
			};
			page[my_page].head = head
		od
	} unless { kill_store };
	d_step {
		kill_store = 0; store_gen = 0; talk = NOTHING;
		my_page = 0; my_lane = 0; fresh = 0; old = 0; asker = 0; head = 0; tail = 0; taken = 0;
		newest = 0; i = 0; n = 0; seq = 0; has = 0; refused = 0;
		rec[0] = 0; rec[1] = 0; status[0] = 0; status[1] = 0
	};
	goto start
}

/* --- queue manager ------------------------------------------------------------ */

active proctype manager()
{
	byte next = NONE, asked;
start:
	{
		do
		/* HELLO of a client without a lane here: kept, then attached. */
		:: atomic { kept_lane == NONE && c_boot != boot && !client_dead ->
			kept_lane = boot - 1 }
		/* A store that does not have the session. */
		:: atomic { kept_lane != NONE && !session_over &&
			store_gen != 0 && asked != store_gen &&
			talk == NOTHING ->
			asked = store_gen;
			talk_old = NONE;
			if
			:: kept_page != NONE &&
				page[kept_page].gen == store_gen ->
				next = kept_page
			:: else ->
				next = pages;
				pages++;
				page[next].gen = store_gen;
				talk_old = kept_page
			fi;
#ifdef KEEP_BEFORE_COPY
			kept_page = next;
#endif
			talk_new = next;
			talk = ATTACH }
		:: atomic { talk == ATTACHED && asked == store_gen ->
			talk = NOTHING }
			kept_page = next; /* take_page */
			attached_to = asked
		:: atomic { client_dead && !session_over && attached_to != 0 &&
			attached_to == store_gen && talk == NOTHING ->
			talk = DETACH }
		:: atomic { talk == DETACHED ->
			talk = NOTHING; session_over = 1 }
		od
	} unless { kill_manager };
	d_step {
		kill_manager = 0; talk = NOTHING; manager_gen++;
		next = NONE; asked = 0; attached_to = 0
	};
	goto start
}

/* --- client --------------------------------------------------------------------- */

#define CAN_SEE (attached_to != 0 && attached_to == store_gen)

inline harvest()
{
	d_step {
		do
		:: seen < page[c_page].logged && seen < next - 1 ->
			told[seen] = page[c_page].done[seen];
			assert(told[seen] != 0);
			assert((told[seen] == REFUSED) == !in_log[seen]);
			seen++
		:: else -> break
		od
	}
}

/* Put one record; it exists with the store of tail. */
inline write(number)
{
	lane[c_lane].put[tail] = number;
#ifdef TAIL_BEFORE_RECORD
	lane[c_lane].tail = tail + 1;
#endif
	lane[c_lane].cell[tail % CELLS] = number;
	tail++
}

#ifdef REUSE_UNSEEN
#define ROOM (tail - head <= CELLS)
#else
#define ROOM (tail - head < CELLS)
#endif

active proctype client()
{
	byte tail, head, next = 1, seen, back, back_end, at;
	{
		do
		/* A broker that is not the one it knew: salvage, HELLO. */
		:: c_boot != boot ->
			if
			:: c_page != NONE ->
				lane[c_lane].tail = tail;
				harvest();
#ifndef NO_SALVAGE
				d_step {
					/* a backlog is a range: refusals and
					 * all else without completion */
					if
					:: back == 0 -> back = seen + 1
					:: else
					fi;
					back_end = next - 1
				}
#endif
			:: else
			fi;
			atomic { CAN_SEE && kept_page != NONE && kept_lane != NONE ->
				c_lane = kept_lane; c_page = kept_page;
				tail = 0; head = 0; c_boot = boot }
		:: atomic { c_boot == boot && CAN_SEE && c_page != kept_page ->
			at = kept_page } /* EV_PAGE, or a welcome: it came */
			harvest();
			atomic { c_page = at; at = 0 }
		:: c_boot == boot && seen < next - 1 &&
			page[c_page].logged > seen -> harvest()
		:: c_boot == boot && page[c_page].head > head ->
			assert(page[c_page].head <= tail);
			head = page[c_page].head
		:: c_boot == boot && back != 0 && back <= back_end && ROOM ->
			write(back);
			back++;
			lane[c_lane].tail = tail
		:: atomic { back > back_end && back != 0 ->
			back = 0; back_end = 0 }
#ifdef NEW_BEFORE_BACKLOG
		:: c_boot == boot && next <= N && ROOM ->
#else
		:: c_boot == boot && next <= N && ROOM && back == 0 ->
#endif
			write(next);
			next++
		:: c_boot == boot && lane[c_lane].tail != tail ->
			lane[c_lane].tail = tail /* announce */
		od
	} unless { kill_client };
	d_step {
		kill_client = 0; client_dead = 1;
		c_page = 0; tail = 0; head = 0; next = 0; seen = 0; back = 0;
		back_end = 0; at = 0
	}
}

/* --- fate, and the judge --------------------------------------------------------- */

active proctype fate()
{
	byte stores, managers, i;

	do
	:: atomic { stores < STORE_DEATHS && store_gen != 0 && !kill_store &&
		NOT_HIDDEN(UNKEPT) ->
		stores++; kill_store = 1 }
	:: atomic { managers < MANAGER_DEATHS && !kill_manager ->
		managers++; kill_manager = 1 }
	:: atomic { !client_dead && !kill_client -> kill_client = 1 }
	:: atomic { boot <= BROKER_DEATHS && !kill_store && !kill_manager &&
		NOT_HIDDEN(UNSEEN) -> /* everything */
		boot++; kill_store = 1; kill_manager = 1;
		kept_lane = NONE; kept_page = NONE }
	:: break
	od;
	timeout;
	d_step {
		i = 0;
		do
		:: i < N ->
			if
			:: !client_dead -> /* everything is answered */
				assert(told[i] != 0)
			:: client_dead && kept_lane != NONE &&
				i < lane[kept_lane].tail -> /* what is in the lane */
				assert(in_log[lane[kept_lane].put[i] - 1] ||
				    was_refused[lane[kept_lane].put[i] - 1])
			:: else
			fi;
			i++
		:: else -> break
		od
	}
}
