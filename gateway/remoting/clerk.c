/*
 * clerk.c - one thread, one list in, one list back for each worker.
 */
#include "config.h"
#include "remoting/clerk.h"

#include <pthread.h>
#include <signal.h>
#include <sys/queue.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sys.h"
#include "leat/status.h"
#include "remoting/registrar.h"
#include "remoting/worker.h"

#define TOLD_MS 300

struct item {
	STAILQ_ENTRY(item) link;
	struct lt_clerk_inbox *inbox;
	struct lt_call *call;
	lt_clerk_work *work;
	lt_clerk_done *done;
	int status;
};
STAILQ_HEAD(items, item);

struct lt_clerk_inbox {
	struct lt_clerk *clerk;
	struct lt_net *net;
	struct items back; /* lock */
	struct lt_clerk_inbox *next;
};

struct lt_clerk {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct items waiting; /* lock */
	size_t count, bytes; /* lock; what waits, and its bodies */
	int stop; /* lock */
	struct {
		lt_clerk_duty *run;
		void *user;
	} duties[LT_CLERK_DUTIES_MAX]; /* lock */
	size_t duty_count; /* lock */
	uint64_t duty_ms; /* when it is due; 0: at once */
	struct leat *leat; /* the thread's */
	struct lt_clerk_inbox *inboxes;
};

/* If it is due. The lock is held, but not meanwhile. */
static void
do_duty(struct lt_clerk *clerk)
{
	size_t count = clerk->duty_count;

	if (count == 0 || lt_clock_mono_ms() < clerk->duty_ms)
		return;
	clerk->duty_ms = UINT64_MAX;
	pthread_mutex_unlock(&clerk->lock);
	for (size_t i = 0; i < count; i++)
		clerk->duties[i].run(clerk->leat, 0, clerk->duties[i].user);
	pthread_mutex_lock(&clerk->lock);
	if (clerk->duty_ms != 0) /* nobody said so meanwhile */
		clerk->duty_ms = lt_clock_mono_ms() + LT_CLERK_DUTY_MS;
}

static void
sleep_until(struct lt_clerk *clerk, uint64_t ms)
{
	struct timespec at = {.tv_sec = (time_t)(ms / 1000),
	    .tv_nsec = (long)(ms % 1000) * 1000000};

	pthread_cond_timedwait(&clerk->change, &clerk->lock, &at);
}

/* Who made a topic may ask for its route next. */
static void
do_one(struct lt_clerk *clerk, struct item *it)
{
	struct lt_registrar *r = it->call->worker->g->registrar;
	uint64_t before = lt_registrar_changes(r);

	it->status = it->work(clerk->leat, it->call);
	if (lt_registrar_changes(r) != before)
		lt_registrar_await(r, TOLD_MS);
}

static void *
run(void *arg)
{
	struct lt_clerk *clerk = arg;
	struct item *it;

	(void)pthread_setname_np(pthread_self(), "gateway-clerk");
	pthread_mutex_lock(&clerk->lock);
	while (!clerk->stop) {
		do_duty(clerk);
		if (clerk->stop)
			break;
		it = STAILQ_FIRST(&clerk->waiting);
		if (it == NULL) {
			if (clerk->duty_count == 0)
				pthread_cond_wait(&clerk->change, &clerk->lock);
			else
				sleep_until(clerk, clerk->duty_ms);
			continue;
		}
		STAILQ_REMOVE_HEAD(&clerk->waiting, link);
		pthread_mutex_unlock(&clerk->lock);
		do_one(clerk, it);
		pthread_mutex_lock(&clerk->lock);
		clerk->count--;
		clerk->bytes -= it->call->body_bytes;
		STAILQ_INSERT_TAIL(&it->inbox->back, it, link);
		lt_net_wake(it->inbox->net);
	}
	pthread_mutex_unlock(&clerk->lock);
	for (size_t i = 0; i < clerk->duty_count; i++)
		clerk->duties[i].run(clerk->leat, 1, clerk->duties[i].user);
	return NULL;
}

void
lt_clerk_on_duty(struct lt_clerk *clerk, lt_clerk_duty *duty, void *user)
{
	pthread_mutex_lock(&clerk->lock);
	LT_ASSERT(clerk->duty_count < LT_CLERK_DUTIES_MAX);
	clerk->duties[clerk->duty_count].run = duty;
	clerk->duties[clerk->duty_count++].user = user;
	pthread_cond_signal(&clerk->change);
	pthread_mutex_unlock(&clerk->lock);
}

void
lt_clerk_soon(struct lt_clerk *clerk)
{
	pthread_mutex_lock(&clerk->lock);
	clerk->duty_ms = 0;
	pthread_cond_signal(&clerk->change);
	pthread_mutex_unlock(&clerk->lock);
}

int
lt_clerk_start(const struct leat_options *options,
    int (*first)(struct leat *leat, void *user), void *user,
    struct lt_clerk **out)
{
	struct lt_clerk *clerk = lt_mem_alloc(sizeof *clerk);
	pthread_condattr_t steady;
	sigset_t all, before;
	int err, status;

	if (clerk == NULL)
		return LEAT_E_NOMEM;
	status = leat_connect(options, &clerk->leat);
	if (status == LEAT_OK)
		status = first(clerk->leat, user);
	if (status != LEAT_OK) {
		leat_close(clerk->leat);
		lt_mem_free(clerk);
		return status;
	}
	STAILQ_INIT(&clerk->waiting);
	pthread_mutex_init(&clerk->lock, NULL);
	pthread_condattr_init(&steady);
	pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
	pthread_cond_init(&clerk->change, &steady);
	pthread_condattr_destroy(&steady);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&clerk->thread, NULL, run, clerk);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err != 0) {
		leat_close(clerk->leat);
		lt_mem_free(clerk);
		return lt_sys_status(err);
	}
	*out = clerk;
	return LEAT_OK;
}

static void
free_items(struct items *items)
{
	struct item *it;

	while ((it = STAILQ_FIRST(items)) != NULL) {
		STAILQ_REMOVE_HEAD(items, link);
		lt_call_free(it->call);
		lt_mem_free(it);
	}
}

void
lt_clerk_stop(struct lt_clerk *clerk)
{
	struct lt_clerk_inbox *inbox;

	pthread_mutex_lock(&clerk->lock);
	clerk->stop = 1;
	pthread_cond_signal(&clerk->change);
	pthread_mutex_unlock(&clerk->lock);
	pthread_join(clerk->thread, NULL);
	free_items(&clerk->waiting);
	while ((inbox = clerk->inboxes) != NULL) {
		clerk->inboxes = inbox->next;
		free_items(&inbox->back);
		lt_mem_free(inbox);
	}
	leat_close(clerk->leat);
	pthread_cond_destroy(&clerk->change);
	pthread_mutex_destroy(&clerk->lock);
	lt_mem_free(clerk);
}

struct lt_clerk_inbox *
lt_clerk_inbox(struct lt_clerk *clerk, struct lt_net *net)
{
	struct lt_clerk_inbox *inbox = lt_mem_alloc(sizeof *inbox);

	if (inbox == NULL)
		return NULL;
	inbox->clerk = clerk;
	inbox->net = net;
	STAILQ_INIT(&inbox->back);
	inbox->next = clerk->inboxes;
	clerk->inboxes = inbox;
	return inbox;
}

void
lt_clerk_collect(struct lt_clerk_inbox *inbox)
{
	struct items back = STAILQ_HEAD_INITIALIZER(back);
	struct item *it;

	pthread_mutex_lock(&inbox->clerk->lock);
	STAILQ_CONCAT(&back, &inbox->back);
	pthread_mutex_unlock(&inbox->clerk->lock);
	while ((it = STAILQ_FIRST(&back)) != NULL) {
		STAILQ_REMOVE_HEAD(&back, link);
		it->call->conn =
		    lt_conn_find(inbox->net, it->call->ticket.conn);
		it->done(it->call, it->status);
		lt_mem_free(it);
	}
}

int
lt_clerk_submit(struct lt_clerk_inbox *inbox, const struct lt_call *call,
    lt_clerk_work *work, lt_clerk_done *done)
{
	struct lt_clerk *clerk = inbox->clerk;
	struct item *it;
	int is_full;

	pthread_mutex_lock(&clerk->lock);
	is_full = clerk->count >= LT_CLERK_WAITING_MAX ||
		  call->body_bytes > LT_CLERK_BYTES_MAX - clerk->bytes;
	clerk->count += !is_full;
	clerk->bytes += is_full ? 0 : call->body_bytes;
	pthread_mutex_unlock(&clerk->lock);
	if (is_full)
		return LEAT_E_BUSY;
	it = lt_mem_alloc(sizeof *it);
	if (it != NULL)
		it->call = lt_call_detach(call);
	if (it == NULL || it->call == NULL) {
		lt_mem_free(it);
		pthread_mutex_lock(&clerk->lock);
		clerk->count--;
		clerk->bytes -= call->body_bytes;
		pthread_mutex_unlock(&clerk->lock);
		return LEAT_E_NOMEM;
	}
	lt_ticket_owe(call->worker, &it->call->ticket);
	it->inbox = inbox;
	it->work = work;
	it->done = done;
	pthread_mutex_lock(&clerk->lock);
	STAILQ_INSERT_TAIL(&clerk->waiting, it, link);
	pthread_cond_signal(&clerk->change);
	pthread_mutex_unlock(&clerk->lock);
	return LEAT_OK;
}
