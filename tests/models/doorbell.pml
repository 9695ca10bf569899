/*
 * doorbell.pml - sleeping and waking without a lost wake-up: a publisher that
 * waits for receipts, the store, a consumer that waits for data, on processors
 * with store buffers (a store is seen by others only when it leaves the buffer
 * of its process; a full fence waits for that; so does a locked add).
 *
 * Smaller: NO_CONSUMER; NO_WAITING, the publisher waits for no receipt.
 *
 * Nothing here ever times out, but for one case that is said: a client that
 * still has the page of a dead store. So whoever sleeps for ever beside work
 * is found by the judge. Store and publisher may die between any two steps.
 * How a bell wakes is left open: it counts, and a sleep ends when its count is
 * not the one that was read before the flag went up.
 *
 * Stands for:
 * src/shm/doorbell.h: lt_doorbell_fence
 * src/store/store_main.c: idle is_anything_there poll_events
 * src/store/publish.c: show crossed look lt_publish_wake wake_touched
 * src/client/producer.c: lt_producer_announce
 * src/client/wait.c: lt_wait_once leat_arm
 * src/client/receipt.c: wait_flight one_ready
 * src/client/connect.c: lt_connect_page
 * src/queue/attach.c: lt_attach_store_up tell_page
 * src/queue/progress.c: tell_returned
 * src/queue/session.c: death_ready
 *
 * Proof: -DSTORE_DEATHS=0
 * Proof: -DNO_CONSUMER -DMSGS=2
 * Proof: -DNO_WAITING -DPUBLISHER_DEATHS=0
 * Long: -DSTORE_DEATHS=0 -DMSGS=2
 * Long: -DNO_WAITING
 * Long: -DSTORE_DEATHS=1
 * Mutant: NO_FENCE_PUBLISH -DSTORE_DEATHS=0
 * Mutant: NO_FENCE_SLEEP -DSTORE_DEATHS=0
 * Mutant: NO_FENCE_WAIT -DSTORE_DEATHS=0
 * Mutant: NO_FENCE_LOOK -DSTORE_DEATHS=0
 * Mutant: NO_LAST_LOOK_STORE -DSTORE_DEATHS=0
 * Mutant: NO_LAST_LOOK_CLIENT -DSTORE_DEATHS=0
 * Mutant: BELL_READ_LATE -DSTORE_DEATHS=0
 * Mutant: RING_WITHOUT_COUNT -DSTORE_DEATHS=0
 * Mutant: NO_HANGUP -DSTORE_DEATHS=0
 * Mutant: NO_RING_ON_NEW_PAGE -DNO_CONSUMER
 * Mutant: UNCAPPED -DNO_CONSUMER
 */
#ifndef MSGS
#define MSGS 1
#endif
#ifndef STORE_DEATHS
#define STORE_DEATHS 1
#endif
#ifndef PUBLISHER_DEATHS
#define PUBLISHER_DEATHS 1
#endif

/* Words that several processes see. Beacon and page are one per store. */
#define TAIL 0
#define WANT 1
#define P_WAITS 2
#define C_WAITS 3
#define SLEEPING(g) (4 + (g))
#define LOGGED(g) (6 + (g)) /* the consumer's commit word as well */
byte mem[8];
byte p_bell[2], c_bell[2]; /* changed by locked add only */
byte returned; /* the same */

#define P 0
#define S 1
#define C 2
chan buffer[3] = [4] of { byte, byte };
#define STORE(who, word, value) buffer[who] ! word, value
#define FENCE(who) empty(buffer[who])

bit bell; /* the store's: latched by the kernel until it sleeps */
bit wake_consumer; /* a request of the queue manager to the store */
byte store_gen; /* 1 + number of the store; 0: dead */
byte gens, drained; /* what lanes and log know of the messages */
bit p_dead, kill_store, kill_p;
byte p_gen, c_gen; /* whose page the client has */
bit p_asleep, c_asleep, nudge_p, nudge_c; /* ghosts, and wake without count */
byte got, got_back;

/* The cap of a sleep is counted on only while a client has an old page. */
#ifdef UNCAPPED
#define CAP(gen) false
#else
#define CAP(gen) (store_gen != 0 && gen + 1 != store_gen)
#endif

active proctype memory()
{
	byte word, value;

end:	do
	:: atomic { buffer[P] ? word, value ->
		mem[word] = value; word = 0; value = 0 }
	:: atomic { buffer[S] ? word, value ->
		mem[word] = value; word = 0; value = 0 }
	:: atomic { buffer[C] ? word, value ->
		mem[word] = value; word = 0; value = 0 }
	od
}

#ifdef RING_WITHOUT_COUNT
#define RING(b, asleep, nudge) atomic { FENCE(S) -> nudge = asleep }
#else
#define RING(b, asleep, nudge) atomic { FENCE(S) -> b++ }
#endif

active proctype store()
{
	byte g, done, seen;
	bit flag;
start:
	{
		atomic { g = gens; gens++; done = drained; seen = done;
			store_gen = gens; mem[LOGGED(g)] = done }
		/* EV_PAGE is sent: who sleeps on an old bell is nudged. */
		atomic {
			if
			:: p_asleep && p_gen != g -> nudge_p = 1
			:: else
			fi;
			if
			:: c_asleep && c_gen != g -> nudge_c = 1
			:: else
			fi }
		do
		:: mem[TAIL] != done ->
			/* a batch: log, ring, completions */
			atomic { done = mem[TAIL]; drained = done }
			STORE(S, LOGGED(g), done);
#ifndef NO_FENCE_LOOK
			FENCE(S);
#endif
			flag = mem[P_WAITS];
			if
			:: flag && seen < mem[WANT] && mem[WANT] <= done ->
				RING(p_bell[g], p_asleep, nudge_p)
			:: else
			fi;
			flag = mem[C_WAITS];
			if
			:: flag -> RING(c_bell[g], c_asleep, nudge_c)
			:: else
			fi;
			atomic { seen = done; flag = 0 }
		:: wake_consumer ->
			wake_consumer = 0;
			RING(c_bell[g], c_asleep, nudge_c)
		:: mem[TAIL] == done && !wake_consumer ->
			STORE(S, SLEEPING(g), 1);
#ifndef NO_FENCE_SLEEP
			FENCE(S);
#endif
#ifndef NO_LAST_LOOK_STORE
			if
			:: mem[TAIL] != done
			:: mem[TAIL] == done ->
#endif
				atomic { bell || wake_consumer || CAP(p_gen) ->
					bell = 0 }
#ifndef NO_LAST_LOOK_STORE
			fi;
#endif
			STORE(S, SLEEPING(g), 0)
		od
	} unless { kill_store };
	d_step { kill_store = 0; store_gen = 0; wake_consumer = 0;
		g = 0; done = 0; seen = 0; flag = 0 };
	goto start
}

/* EV_PAGE: the new page, and the new store hears of us. */
#ifdef NO_RING_ON_NEW_PAGE
#define NEW_PAGE(gen) atomic { store_gen != 0 && gen + 1 != store_gen ->         \
	gen = store_gen - 1 }
#else
#define NEW_PAGE(gen) atomic { store_gen != 0 && gen + 1 != store_gen ->         \
	gen = store_gen - 1; bell = 1 }
#endif

active proctype publisher()
{
	byte sent, seen;
	{
		do
		:: sent < MSGS ->
			sent++;
			STORE(P, TAIL, sent);
#ifndef NO_FENCE_PUBLISH
			FENCE(P);
#endif
			if
			:: mem[SLEEPING(p_gen)] -> bell = 1
			:: else
			fi;
			do
#ifdef NO_WAITING
			:: break
#else
			:: mem[LOGGED(p_gen)] >= sent -> break
			:: NEW_PAGE(p_gen)
			:: mem[LOGGED(p_gen)] < sent ->
				seen = p_bell[p_gen];
				STORE(P, WANT, sent);
				STORE(P, P_WAITS, 1);
#ifndef NO_FENCE_WAIT
				FENCE(P);
#endif
				if
#ifndef NO_LAST_LOOK_CLIENT
				:: mem[LOGGED(p_gen)] >= sent
				:: mem[LOGGED(p_gen)] < sent ->
#else
				:: true ->
#endif
#ifdef BELL_READ_LATE
					seen = p_bell[p_gen];
#endif
					p_asleep = 1;
					atomic { p_bell[p_gen] != seen || nudge_p ||
						CAP(p_gen) ->
						p_asleep = 0; nudge_p = 0 }
				fi;
				STORE(P, P_WAITS, 0);
				seen = 0
			:: sent < MSGS -> break /* does not wait for this one */
#endif
			od
		:: NEW_PAGE(p_gen)
		od
	} unless { kill_p };
#ifndef NO_HANGUP
	/* The queue manager has the store drain the lane. */
	atomic { FENCE(P) -> bell = 1 }
#endif
	atomic { kill_p = 0; p_dead = 1; p_gen = gens - 1; sent = 0; seen = 0;
		p_asleep = 0; nudge_p = 0 }
}

active proctype consumer()
{
	byte seen;

end:	do
#ifdef NO_CONSUMER
	:: false
#else
	:: mem[LOGGED(c_gen)] > got -> got = mem[LOGGED(c_gen)]
	:: returned != got_back -> got_back = returned
	:: NEW_PAGE(c_gen)
	:: mem[LOGGED(c_gen)] <= got && returned == got_back ->
		seen = c_bell[c_gen];
		STORE(C, C_WAITS, 1);
#ifndef NO_FENCE_WAIT
		FENCE(C);
#endif
		if
#ifndef NO_LAST_LOOK_CLIENT
		:: mem[LOGGED(c_gen)] > got || returned != got_back
		:: mem[LOGGED(c_gen)] <= got && returned == got_back ->
#else
		:: true ->
#endif
#ifdef BELL_READ_LATE
			seen = c_bell[c_gen];
#endif
			c_asleep = 1;
			atomic { c_bell[c_gen] != seen || nudge_c || CAP(c_gen) ->
				c_asleep = 0; nudge_c = 0 }
		fi;
		STORE(C, C_WAITS, 0);
		seen = 0
#endif
	od
}

active proctype fate()
{
	byte deaths;

	do
	:: atomic { deaths < STORE_DEATHS && store_gen != 0 && !kill_store ->
		deaths++; kill_store = 1 }
#if PUBLISHER_DEATHS
	:: atomic { !p_dead && !kill_p -> kill_p = 1 }
#endif
#ifndef NO_CONSUMER
	/* The queue manager frees a claim, then has its members woken. */
	:: atomic { returned == 0 && gens != 0 -> returned = 1 }
		if
		:: store_gen != 0 -> wake_consumer = 1
		:: store_gen == 0
		fi
#endif
	:: break
	od;
	timeout;
	assert(mem[TAIL] == drained);
#ifndef NO_CONSUMER
	assert(got == drained);
#endif
	assert(got_back == returned);
	assert(p_dead || !p_asleep || mem[LOGGED(p_gen)] < mem[WANT]);
	assert(p_dead || mem[TAIL] == MSGS)
}
