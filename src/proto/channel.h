/*
 * channel.h - the Leat channel: Noise XK made into a stream of records on TCP.
 * No I/O; gateway/net/channel.c and src/client/remote bring the bytes.
 *
 *     client                                   broker
 *       "LEATCH" 0 1, message 1   56 bytes ─►            one shared key
 *                  ◄─ 48 bytes   message 2               a pair, one shared key
 *       message 3                 64 bytes ─►            one shared key
 *       record ...                         ◄─► record    the broker's first
 * says that it knows the key
 *
 * The eight bytes are the prologue. Payloads of the handshake are empty, so
 * each of its messages has one size. A record:
 *
 *     2 bytes, big-endian: how many follow, 17 to 65535
 *     sealed: 1 byte of flags, then 0 to 65518 bytes of the stream; tag of 16
 *
 * Flags: END, no more records from this side (a connection that ends without it
 * was cut); REKEY, the records behind this one have the next key. Any other bit
 * set: refused. Each side sends REKEY after LT_CHANNEL_REKEY_... at the latest
 * and refuses a peer that goes twice as far in records or bytes; age is the
 * sender's affair. The broker's first record has no bytes. A key that has no
 * grant gets none: the connection ends, as with a key that was taken back.
 *
 * Whatever is not so ends the channel: there is no error message. One thread.
 */
#ifndef LT_PROTO_CHANNEL_H
#define LT_PROTO_CHANNEL_H

#include "proto/noise.h"

#define LT_CHANNEL_PROLOGUE "LEATCH\0\1" /* and its NUL is not sent */
#define LT_CHANNEL_PROLOGUE_BYTES 8
#define LT_CHANNEL_HELLO (LT_CHANNEL_PROLOGUE_BYTES + LT_NOISE_FIRST)
#define LT_CHANNEL_ANSWER LT_NOISE_SECOND
#define LT_CHANNEL_PROOF LT_NOISE_THIRD

#define LT_CHANNEL_LENGTH 2
#define LT_CHANNEL_HEAD 3 /* in front of the stream's bytes in a record */
#define LT_CHANNEL_OVER (LT_CHANNEL_HEAD + LT_SECRET_TAG)
#define LT_CHANNEL_PLAIN_MAX (LT_NOISE_MESSAGE_MAX - 1 - LT_SECRET_TAG)
#define LT_CHANNEL_RECORD_MAX (LT_CHANNEL_LENGTH + LT_NOISE_MESSAGE_MAX)

#define LT_CHANNEL_REKEY_RECORDS (1u << 20)
#define LT_CHANNEL_REKEY_BYTES (1u << 30)
#define LT_CHANNEL_REKEY_MS 600000u

enum lt_channel_flags {
	LT_CHANNEL_END = 1,
	LT_CHANNEL_REKEY = 2
};

struct lt_channel_count { /* since the key was new */
	uint32_t records;
	uint64_t bytes;
};

struct lt_channel {
	struct lt_noise noise;
	struct lt_channel_count out, in;
	uint64_t rekeyed_ms; /* of what we seal; 0: at the first record */
	uint8_t is_out_ended, is_in_ended;
};

/* broker: its public key, of a client; NULL: we are the broker. own is copied.
 */
void lt_channel_init(struct lt_channel *ch, const struct lt_noise_pair *own,
    const uint8_t *broker);
void lt_channel_fini(struct lt_channel *ch); /* wipes it */
int lt_channel_is_up(const struct lt_channel *ch);
/* The other's public key, when it is up; the client's, the broker's. */
const uint8_t *lt_channel_peer(const struct lt_channel *ch);

/* The handshake, each once and in this order; failures are LEAT_E_CORRUPT, and
 * the channel is of no more use. Client: hello, finish. Broker: greet (the one
 * thing that is done for a stranger: one shared key), answer, accept. */
int lt_channel_hello(
    struct lt_channel *ch, uint8_t out[LT_CHANNEL_HELLO]) LT_MUST_CHECK;
int lt_channel_greet(
    struct lt_channel *ch, const uint8_t in[LT_CHANNEL_HELLO]) LT_MUST_CHECK;
int lt_channel_answer(
    struct lt_channel *ch, uint8_t out[LT_CHANNEL_ANSWER]) LT_MUST_CHECK;
int lt_channel_finish(struct lt_channel *ch,
    const uint8_t in[LT_CHANNEL_ANSWER],
    uint8_t out[LT_CHANNEL_PROOF]) LT_MUST_CHECK;
int lt_channel_accept(
    struct lt_channel *ch, const uint8_t in[LT_CHANNEL_PROOF]) LT_MUST_CHECK;

/* A record in place: the stream's bytes are at record + LT_CHANNEL_HEAD, at
 * most LT_CHANNEL_PLAIN_MAX, with room for the tag behind; bytes +
 * LT_CHANNEL_OVER is what is to be sent, all of it. end: the last. now_ms:
 * monotonic, not 0. LEAT_E_INVALID: not up, ended, or too long. */
int lt_channel_seal(struct lt_channel *ch, uint8_t *record, size_t bytes,
    int end, uint64_t now_ms) LT_MUST_CHECK;
/* Size of the record that begins at p, of which bytes are there; 0: not known
 * yet; negative: no record. */
int64_t lt_channel_cut(const uint8_t *p, size_t bytes);
/* A whole record, opened in place. *out: lent, inside of it. LEAT_E_CLOSED: it
 * was opened and is the last; LEAT_E_CORRUPT ends the channel. */
int lt_channel_open(struct lt_channel *ch, uint8_t *record, size_t bytes,
    uint8_t **out, size_t *bytes_out) LT_MUST_CHECK;

#endif
