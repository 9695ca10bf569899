/*
 * noise.h - Noise_XK_25519_ChaChaPoly_SHA512, revision 34 of the Noise Protocol
 * Framework, as a state machine: bytes in, bytes out, no I/O, no memory of its
 * own. What the Leat channel makes of it is in channel.h.
 *
 *     initiator                              responder, whose key it knows
 *       e, es, payload  ────────────────►   1
 *       2   ◄────────────────  e, ee, payload
 *       s, se, payload  ────────────────►   3: it knows the initiator's key
 *
 * Each message is written by one side and read by the other; then both seal and
 * open. A call that is not due (LEAT_E_INVALID) changes nothing; whatever else
 * fails ends it, and every later call is not due. One thread.
 */
#ifndef LT_PROTO_NOISE_H
#define LT_PROTO_NOISE_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"
#include "base/secret.h"

#define LT_NOISE_MESSAGE_MAX 65535 /* on the wire, by the framework */
#define LT_NOISE_FIRST 48 /* bytes of messages 1, 2, 3 with empty payload */
#define LT_NOISE_SECOND 48
#define LT_NOISE_THIRD 64

struct lt_noise_pair {
	uint8_t secret[LT_SECRET_KEY], public[LT_SECRET_KEY];
};

struct lt_noise_cipher {
	uint8_t key[LT_SECRET_KEY];
	uint64_t n; /* of the next message; UINT64_MAX is never used */
};

struct lt_noise {
	uint8_t is_initiator, is_ended;
	uint8_t step; /* handshake messages written and read; 3: done */
	uint8_t peer[LT_SECRET_KEY]; /* responder: known after message 3 */
	uint8_t hash[LT_SECRET_HASH]; /* of the handshake: names the channel */
	union {
		struct {
			uint8_t chain[LT_SECRET_HASH];
			struct lt_noise_cipher cipher;
			struct lt_noise_pair own, once; /* static, ephemeral */
			uint8_t peer_once[LT_SECRET_KEY];
		} hs;
		struct {
			struct lt_noise_cipher out, in;
		} up;
	};
};

/* peer: the responder's public key, of an initiator; NULL: we respond. own is
 * copied; the state holds secrets from here to lt_noise_fini(). */
void lt_noise_init(struct lt_noise *n, const struct lt_noise_pair *own,
    const uint8_t *peer, const void *prologue, size_t prologue_bytes);
void lt_noise_fini(struct lt_noise *n); /* wipes it */
/* For test vectors only: the ephemeral key, else a random one. */
void lt_noise_once(struct lt_noise *n, const uint8_t secret[LT_SECRET_KEY]);

/* The next message of the handshake. *bytes_out: what was written, at most
 * room. LEAT_E_INVALID: not our turn, ended, or no room; LEAT_E_CORRUPT: the
 * peer's key is of small order. One shared key for the first and the third
 * message, a new pair and one for the second. */
int lt_noise_write(struct lt_noise *n, const void *payload, size_t bytes,
    void *out, size_t room, size_t *bytes_out) LT_MUST_CHECK;
/* Read it; payload_out: room for bytes. One shared key each. LEAT_E_INVALID:
 * not its turn, or ended; LEAT_E_CORRUPT: too short, or not of the peer. */
int lt_noise_read(struct lt_noise *n, const void *p, size_t bytes,
    void *payload_out, size_t *payload_bytes) LT_MUST_CHECK;
int lt_noise_is_up(const struct lt_noise *n); /* done, and not ended */

/* When it is up. out: bytes and LT_SECRET_TAG; in place if out is p.
 * LEAT_E_INVALID: not up, too long, or the counter is used up. */
int lt_noise_seal(
    struct lt_noise *n, const void *p, size_t bytes, void *out) LT_MUST_CHECK;
/* bytes: with the tag. The next one in order and no other: LEAT_E_CORRUPT ends
 * it. */
int lt_noise_open(
    struct lt_noise *n, const void *p, size_t bytes, void *out) LT_MUST_CHECK;
/* A new key made of the old one, for what we seal, or what we open. */
void lt_noise_rekey_out(struct lt_noise *n);
void lt_noise_rekey_in(struct lt_noise *n);

#endif
