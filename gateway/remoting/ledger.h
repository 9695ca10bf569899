/*
 * ledger.h - what this gateway has for the audit topic: requests of remote
 * clients that were refused, and administrative ones with what became of them.
 * Any thread writes, and never waits; the clerk tells leat-queue.
 *
 * LT_LEDGER_MAX notes at most, half of them refusals, which have
 * LT_AUDITLINE_PER_S a second. What is beyond is counted, and one record says
 * how many.
 */
#ifndef LT_REMOTING_LEDGER_H
#define LT_REMOTING_LEDGER_H

#include <stdint.h>
#include "base/check.h"
#include "remoting/call.h"

struct lt_clerk;
struct lt_ledger;

#define LT_LEDGER_MAX 2048
#define LT_LEDGER_PATIENCE_MS 60000 /* for the answer to a request */

int lt_ledger_create(struct lt_ledger **out) LT_MUST_CHECK;
void lt_ledger_destroy(struct lt_ledger *ledger); /* NULL: nothing */
/* kind and name: "topic" or "group" and which; kind NULL: neither. */
void lt_ledger_refused(struct lt_ledger *ledger, const struct lt_call *call,
    const char *kind, struct lt_remoting_text name, const char *outcome);
/* A peer that was not let in, or has to go; who: NONE if it proved nothing. */
void lt_ledger_turned_away(struct lt_ledger *ledger,
    const struct lt_principal *who, const char *peer, const char *act,
    const char *outcome);
/* So many connections that were closed before they said a word. */
void lt_ledger_flooded(struct lt_ledger *ledger, uint64_t connections);
/* An act begins, whose answer says how it ended: goes into the call's ticket.
 * 0: no room. */
uint32_t lt_ledger_begin(struct lt_ledger *ledger, const struct lt_call *call,
    const char *kind, struct lt_remoting_text name);
/* It was answered; only the first time counts. */
void lt_ledger_end(struct lt_ledger *ledger, uint32_t note, int32_t code);
/* From now on the clerk tells leat-queue. */
void lt_ledger_start(struct lt_ledger *ledger, struct lt_clerk *clerk);

#endif
