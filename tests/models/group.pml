/*
 * group.pml - the group table: two members share one queue of N messages
 * through a window of W claim words; the queue manager harvests progress, frees
 * claims of the dead and the slow, passes over messages that the log has no
 * more, and drops a table that nobody uses. Members
 * and queue manager may die between any two steps; a new member comes with a
 * new owner number, a new queue manager goes on with the kept table and the
 * progress in the log.
 *
 * Proven: what was acknowledged is not delivered again; an acknowledgement
 * counts only for the claim that it belongs to; a claim of a living member ends
 * by itself or by its lease only; progress never passes what is not done;
 * nothing stays behind: while a member lives, everything gets acknowledged.
 *
 * Stands for:
 * src/shm/grouptable.c: lt_table_format lt_table_claim leave lt_table_ack
 * src/shm/grouptable.c: lt_table_nack lt_table_unclaim lt_table_is_free
 * src/shm/grouptable.c: undone inspect lt_table_harvest lt_table_retire
 * src/client/take.c: claim release rescan progress_of lt_take_inlet
 * src/client/consumer.c: act_one
 * src/client/inlet.c: settle resume_at
 * src/queue/progress.c: lt_progress_sweep tell_returned sweep_orphans may_go look
 * src/queue/progress.c: pass_retained
 * src/queue/subscribe.c: join
 * src/queue/group.c: claims_new new_owner lt_group_join lt_group_leave
 * src/queue/group.c: lt_group_claims_free adopt_one
 *
 * Proof: -DNACKS=1
 * Proof: -DMANAGER_DEATHS=1
 * Proof: -DEXPIRIES=1
 * Proof: -DRETENTION=2
 * Long: -DRETENTION=2 -DMANAGER_DEATHS=1
 * Long: -DEXPIRIES=1 -DNACKS=1 -DMANAGER_DEATHS=1
 * Mutant: CLAIM_WITHOUT_CAS
 * Mutant: NO_LAP_CHECK -DEXPIRIES=1
 * Mutant: NO_OWNER_CHECK -DEXPIRIES=1
 * Mutant: CLAIM_OVER_UNDONE
 * Mutant: EXPIRE_WITHOUT_CAS -DEXPIRIES=1
 * Mutant: SILENT_LEAVE -DNACKS=1
 * Mutant: NO_RESCAN_ON_RESUME -DEXPIRIES=1 -DMANAGER_DEATHS=1 -DMEMBER_DEATHS=0 -DN=2
 * Mutant: OWNER_REUSED
 * Mutant: DROP_BEFORE_LOG -DMANAGER_DEATHS=1 -DN=2
 * Mutant: DROP_BY_CURSOR -DN=2
 * Mutant: PROGRESS_OF_ONE_SLOT
 * Mutant: REPLACE_OVERTAKEN -DRETENTION=1 -DMEMBER_DEATHS=0
 * Mutant: RETIRE_CLAIMED -DRETENTION=1 -DMEMBER_DEATHS=0
 */
#ifndef N
#define N 3
#endif
#define W 2
#ifndef MEMBER_DEATHS
#define MEMBER_DEATHS 1
#endif
#ifndef MANAGER_DEATHS
#define MANAGER_DEATHS 0
#endif
#ifndef EXPIRIES
#define EXPIRIES 0
#endif
#ifndef NACKS
#define NACKS 0
#endif
#ifndef RETENTION
#define RETENTION 0 /* messages that may go, oldest first */
#endif
#define OWNERS 7
#define NOWHERE 15

#define FREE 0
#define CLAIMED 1
#define DONE 2

typedef word_t {
	byte lap; /* 1 + real lap */
	byte owner;
	byte state
};

/* the table: kept by the supervisor */
word_t word[W];
byte shown; /* progress */
byte returned;
byte cursor;
bit has_table;
byte tables; /* made so far: which one a member has */

/* the log */
byte logged;
byte log_min; /* messages below are gone */

/* queue manager */
byte progress;
bit manager_up;
byte manager_gen;
bit dirty; /* something for the next sweep */
bit sweeping; /* one thread: no request meanwhile */

bit alive[OWNERS]; /* owner numbers of living members */
bit joined[OWNERS]; /* members that the queue manager counts */
byte members; /* how many of these */

/* ghosts */
bit acked[N];
bit passed[N]; /* gone from the log, unacknowledged: none is delivered, even if
		* a queue manager dies before the log has that it was passed */
byte holder[N]; /* owner of the claim that stands; 0: none */
bit kill_manager, kill_a, kill_b;
byte nacks, expiries;

#define LAP(x) (1 + (x) / W)
#define SLOT(x) ((x) % W)
#define UNDONE(i) (((word[i].state == DONE) + word[i].lap - 1) * W + i)
#define CLAIMABLE(x)                                                           \
	((word[SLOT(x)].lap == LAP(x) && word[SLOT(x)].state == FREE) ||       \
	    (word[SLOT(x)].lap + 1 == LAP(x) && word[SLOT(x)].state == DONE))
#ifdef CLAIM_OVER_UNDONE
#define WINDOW_FULL(x) false
#else
#define WINDOW_FULL(x)                                                         \
	(word[SLOT(x)].lap < LAP(x) &&                                         \
	    !(word[SLOT(x)].lap + 1 == LAP(x) && word[SLOT(x)].state == DONE))
#endif

inline set_word(i, l, o, s)
{
	word[i].lap = l;
	word[i].owner = o;
	word[i].state = s
}

/* A claim: delivered from here on. */
inline take(x)
{
	assert(!acked[x]);
	assert(holder[x] == 0);
	set_word(SLOT(x), LAP(x), me, CLAIMED);
	holder[x] = me;
	held = held | (1 << (x))
}

#ifdef NO_LAP_CHECK
#define SAME_LAP(x) (word[SLOT(x)].lap >= LAP(x))
#else
#define SAME_LAP(x) (word[SLOT(x)].lap == LAP(x))
#endif
#ifdef NO_OWNER_CHECK
#define SAME_OWNER(x) true
#else
#define SAME_OWNER(x) (word[SLOT(x)].owner == me)
#endif
#define MINE(x)                                                                \
	(SAME_LAP(x) && SAME_OWNER(x) && word[SLOT(x)].state == CLAIMED)
#define HELD(x) ((held >> (x)) & 1)

#define LOOK_ON                                                                \
	do                                                                     \
	:: rescan < next && !CLAIMABLE(rescan) -> rescan++                     \
	:: else -> break                                                       \
	od

#define STEP                                                                   \
	if                                                                     \
	:: rescan == next -> rescan++                                          \
	:: else                                                                \
	fi;                                                                    \
	next++

/* Acknowledge; or give back; or find that the lease has ended. */
#define ACT(x)                                                                 \
	:: atomic { HELD(x) && MINE(x) ->                                      \
		assert(holder[x] == me);                                       \
		assert(word[SLOT(x)].lap == LAP(x));                           \
		word[SLOT(x)].state = DONE; word[SLOT(x)].owner = 0;           \
		acked[x] = 1; holder[x] = 0; dirty = 1;                        \
		held = held & (255 - (1 << (x))) }                             \
	:: atomic { HELD(x) && MINE(x) && nacks < NACKS ->                     \
		nacks++;                                                       \
		word[SLOT(x)].state = FREE; word[SLOT(x)].owner = 0;           \
		holder[x] = 0;                                                 \
		held = held & (255 - (1 << (x))) }                             \
		returned++                                                     \
	:: atomic { HELD(x) && !MINE(x) ->                                     \
		assert(holder[x] != me); /* its lease ended */                 \
		held = held & (255 - (1 << (x))) }

inline work(number)
{
	/* SUBSCRIBE: where the group is */
	atomic { manager_up && !sweeping ->
#ifdef OWNER_REUSED
		me = number;
#else
		me = number + 2 * lives; lives++;
#endif
		alive[me] = 1; joined[me] = 1; members++;
		if
		:: !has_table -> /* claims_new */
			has_table = 1;
			do
			:: i < W ->
				set_word((progress + i) % W,
				    LAP(progress + i) - 1, 0, DONE);
				i++
			:: else -> break
			od;
			i = 0; shown = progress; cursor = progress
		:: else
		fi;
		next = (progress < log_min -> log_min : progress); rescan = next; seen = returned; gen = manager_gen }
	do
	/* The queue manager is new: resumed with the same table. */
	:: atomic { manager_up && gen != manager_gen ->
		gen = manager_gen;
#ifndef NO_RESCAN_ON_RESUME
		seen = NOWHERE;
#endif
		skip }
	/* Something came back: look below next. */
	:: atomic { seen != returned && rescan == next ->
		seen = returned; rescan = (shown < next -> shown : next);
		LOOK_ON }
	:: atomic { rescan < next && CLAIMABLE(rescan) ->
		take(rescan); rescan++; LOOK_ON }
	:: atomic { rescan < next && !CLAIMABLE(rescan) -> LOOK_ON }
#ifdef CLAIM_WITHOUT_CAS
	:: atomic { next < N && CLAIMABLE(next) && !WINDOW_FULL(next) -> skip }
		atomic { take(next); STEP }
#else
#ifdef CLAIM_OVER_UNDONE
	:: atomic { next < N && word[SLOT(next)].lap < LAP(next) ->
		take(next); STEP }
#endif
	:: atomic { next < N && CLAIMABLE(next) -> take(next); STEP }
#endif
#ifdef DROP_BY_CURSOR
		if /* move_cursor: load, then store, in a race with others */
		:: cursor = next
		:: skip
		fi
#endif
	:: atomic { next < N && !CLAIMABLE(next) && !WINDOW_FULL(next) ->
		STEP } /* BUSY: somebody else's */
	ACT(0)
	ACT(1)
	ACT(2)
	od
}

#define FORGET                                                                 \
	alive[me] = 0; next = 0; seen = 0; rescan = 0; held = 0; gen = 0;      \
	i = 0; at = 0; me = 0

active proctype member_a()
{
	byte me, lives, next, seen, rescan, held, gen, i, at;
start:
	{ work(1) } unless { kill_a };
	d_step { kill_a = 0; FORGET };
	if
	:: goto start
	:: skip /* nobody comes instead */
	fi
}

active proctype member_b()
{
	byte me, lives, next, seen, rescan, held, gen, i, at;
start:
	{ work(2) } unless { kill_b };
	d_step { kill_b = 0; FORGET };
	if
	:: goto start
	:: skip /* nobody comes instead */
	fi
}

/* The table counts it no more, and is looked at once again. */
#define LEFT                                                                   \
	joined[dead] = 0; members--; leave = 0; dead = 0; dirty = 1
#define GONE(o) (joined[o] && !alive[o])

active proctype manager()
{
	byte i, least, most, dead, at, was;
	bit freed, leave;
start:
	{
		/* State is read back, the kept table adopted. */
		d_step {
			progress = logged;
			if
			:: has_table && shown > progress -> progress = shown
			:: else
			fi;
			manager_gen++;
			dirty = 1
		};
		manager_up = 1;
		do
		:: dirty || GONE(1) || GONE(2) || GONE(3) || GONE(4) ||
			GONE(5) || GONE(6) ||
			(expiries < EXPIRIES && has_table &&
			    (word[0].state == CLAIMED || word[1].state == CLAIMED)) ->
			atomic {
				dirty = 0; sweeping = 1; least = NOWHERE; most = 0; freed = 0;
				dead = 0; leave = 0; i = 0;
				do
				:: dead < 6 && !GONE(dead + 1) -> dead++
				:: dead < 6 && GONE(dead + 1) ->
					dead++; leave = 1; break
				:: dead == 6 -> dead = 0; break
				od
			};
			do
#ifdef EXPIRE_WITHOUT_CAS
			:: atomic { i < W && has_table && dead == 0 &&
				expiries < EXPIRIES &&
				word[i].state == CLAIMED ->
				expiries++; was = word[i].lap }
				atomic { set_word(i, was, 0, FREE); was = 0;
				holder[UNDONE(i)] = 0 }
#endif
			:: atomic { i < W && has_table ->
				at = UNDONE(i);
				if
				:: word[i].state == CLAIMED && dead != 0 &&
					word[i].owner == dead ->
					assert(!alive[dead]);
					word[i].state = FREE; word[i].owner = 0;
					holder[at] = 0; freed = 1
				:: word[i].state == CLAIMED && expiries < EXPIRIES &&
					word[i].owner != dead ->
					expiries++;
					word[i].state = FREE; word[i].owner = 0;
					holder[at] = 0; freed = 1
				:: !(word[i].state == CLAIMED &&
					word[i].owner == dead) -> skip
				fi;
#ifdef PROGRESS_OF_ONE_SLOT
				if
				:: i == 0 -> least = at
				:: else
				fi;
#endif
				if
				:: at < least -> least = at
				:: else
				fi;
				if
				:: at > most -> most = at
				:: else
				fi;
#ifdef PROGRESS_OF_ONE_SLOT
				if
				:: i == 0 -> i = W
				:: else -> i++
				fi;
#else
				i++;
#endif
				at = 0 }
			:: i >= W || !has_table -> break
			od;
			i = 0;
			atomic {
				if
				:: least > N -> least = N
				:: else
				fi;
				if
				:: has_table && least > progress ->
					do
					:: progress < least ->
						assert(acked[progress] || passed[progress]);
						progress++
					:: else -> break
					od;
					shown = progress
				:: else
				fi;
				least = 0;
				if
				:: members > 0 -> most = 0
				:: else
				fi;
				if
#ifdef SILENT_LEAVE
				:: leave && !freed -> LEFT
#endif
				:: freed == 0 && leave == 0 -> sweeping = 0
				:: else
				fi
			};
			if
			:: atomic { freed || leave ->
				returned++;
				freed = 0;
				if
				:: leave -> LEFT
				:: else
				fi;
				sweeping = 0 }
			:: atomic { !freed && !leave -> sweeping = 0 }
			fi;
#if RETENTION > 0
		/* What is gone and unclaimed is done, word by word. */
		:: atomic { has_table && progress < log_min ->
			at = progress }
			do
#ifdef REPLACE_OVERTAKEN
			:: atomic { at < log_min ->
				progress = log_min; i = 0;
				do
				:: i < W ->
					set_word((progress + i) % W,
					    LAP(progress + i) - 1, 0, DONE);
					i++
				:: else -> break
				od;
				i = 0; shown = progress;
				do
				:: at < log_min -> passed[at] = 1; at++
				:: else -> break
				od;
				holder[0] = 0; holder[1] = 0; holder[2] = 0 }
#endif
			:: atomic { at < log_min && CLAIMABLE(at) ->
				set_word(SLOT(at), LAP(at), 0, DONE);
				passed[at] = 1; at++; dirty = 1 }
#ifdef RETIRE_CLAIMED
			:: atomic { at < log_min && !CLAIMABLE(at) &&
				!WINDOW_FULL(at) && word[SLOT(at)].lap == LAP(at) ->
				set_word(SLOT(at), LAP(at), 0, DONE);
				passed[at] = 1; at++; dirty = 1 }
#endif
			:: atomic { at < log_min && !CLAIMABLE(at) &&
				!WINDOW_FULL(at) -> at++ }
			:: at == log_min || WINDOW_FULL(at) -> at = 0; break
			od
		/* join: without a table there is nothing to lose. */
		:: d_step { !has_table && progress < log_min ->
			do
			:: progress < log_min -> passed[progress] = 1; progress++
			:: else -> break
			od }
#endif
		/* One record at a time; then the table of nobody may go. */
		:: logged != progress -> logged = progress
#ifdef DROP_BEFORE_LOG
		:: d_step { members == 0 && has_table && !dirty &&
#else
		:: d_step { members == 0 && has_table && !dirty &&
			logged == progress &&
#endif
#ifdef DROP_BY_CURSOR
			cursor <= progress ->
#else
			most < progress + W -> /* nothing done behind */
#endif
			has_table = 0; most = 0;
			set_word(0, 0, 0, 0); set_word(1, 0, 0, 0);
			shown = 0; cursor = 0 }
		od
	} unless { kill_manager };
	d_step {
		kill_manager = 0; manager_up = 0; sweeping = 0; progress = 0;
		i = 0; least = 0; most = 0; dead = 0; at = 0; was = 0;
		freed = 0; leave = 0
	};
	goto start
}

active proctype fate()
{
	byte deaths, managers, i;

	do
	:: atomic { deaths < MEMBER_DEATHS && !kill_a -> deaths++; kill_a = 1 }
#if MEMBER_DEATHS > 1 /* else they are alike */
	:: atomic { deaths < MEMBER_DEATHS && !kill_b -> deaths++; kill_b = 1 }
#endif
	:: atomic { managers < MANAGER_DEATHS && !kill_manager ->
		managers++; kill_manager = 1 }
#if RETENTION > 0
	:: log_min < RETENTION -> log_min++
#endif
	:: break
	od;
	timeout;
	d_step {
		i = 0;
		do
		:: i < N ->
			assert(acked[i] || passed[i] || !(alive[1] || alive[2] || alive[3] ||
			    alive[4] || alive[5] || alive[6]));
			i++
		:: else -> break
		od
	}
}
