/*
 * doorbell.h - sleep and wake without a lost wake-up.
 *
 * Sleeper: read the bell's value; raise its flag; full fence; look once more
 * whether there is something; sleep while the bell has the value read; lower
 * the flag.  Waker: publish; full fence; if the flag is up: add 1 to the bell
 * and wake. Either the sleeper's last look sees the publication or the waker
 * sees the flag (Dekker). Every sleep has a cap as insurance against a peer
 * that was stopped in between.
 *
 * Clients sleep on the doorbell word of their session page (mapped read-only:
 * FUTEX_WAIT works there), the store on its epoll set with one eventfd per
 * session, guarded by `sleeping` in the beacon.
 */
#ifndef LT_SHM_DOORBELL_H
#define LT_SHM_DOORBELL_H

#include <stdatomic.h>
#include <stdint.h>
#include "base/check.h"

#define LT_DOORBELL_CAP_MS 100

/* Sleep while *bell == seen, at most timeout_ms. 1: woken or changed, 0: time.
 */
int lt_doorbell_wait(
    const _Atomic uint32_t *bell, uint32_t seen, int timeout_ms);
/* Add 1 and wake all who sleep on it. */
void lt_doorbell_ring(_Atomic uint32_t *bell);
/* Wake without a change: to make a client look (bell may be read-only). */
void lt_doorbell_nudge(const _Atomic uint32_t *bell);
/* The full fence between publishing and looking at a flag, or raising a flag
 * and the last look. */
static inline void
lt_doorbell_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}
/* eventfd write of 1 / non-blocking drain. */
void lt_doorbell_event(int eventfd);
void lt_doorbell_drain(int eventfd);

#endif
