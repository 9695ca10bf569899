/*
 * farjson.h - read the JSON of a RocketMQ reply as it comes: also keys that are
 * bare numbers or whole objects, as fastjson writes maps. Over memory that
 * stays the caller's and is not changed; what is no JSON makes `bad`, and from
 * then on everything is empty. Depth is bounded, nothing is allocated.
 *
 *   lt_farjson_init(&j, body, bytes);
 *   lt_farjson_open(&j, '{');
 *   while (lt_farjson_key(&j, key, sizeof(key)))
 *           if (strcmp(key, "topicList") == 0) ... else lt_farjson_skip(&j);
 *   if (j.bad) ...
 *
 * Each value must be read or skipped before the next key or item.
 */
#ifndef LT_CLIENT_REMOTE_FARJSON_H
#define LT_CLIENT_REMOTE_FARJSON_H

#include <stddef.h>
#include <stdint.h>
#include "base/check.h"

struct lt_farjson {
	const char *p, *end;
	int bad;
};

void lt_farjson_init(struct lt_farjson *j, const void *text, size_t bytes);
/* 1: entered an object '{' or an array '['. 0: something else stands there, and
 * was skipped. */
int lt_farjson_open(struct lt_farjson *j, char kind);
/* 1: the next member's key is in key (an object's text if it is one; cut to ""
 * if it does not fit), its value comes next. 0: the object ended. */
int lt_farjson_key(struct lt_farjson *j, char *key, size_t room);
/* 1: another item comes next. 0: the array ended. */
int lt_farjson_item(struct lt_farjson *j);
/* A string's or plain value's text; "" for null, for what does not fit, and for
 * objects and arrays, which are skipped. */
void lt_farjson_text(struct lt_farjson *j, char *out, size_t room);
/* A number, quoted or not; `none` for anything else. */
int64_t lt_farjson_number(struct lt_farjson *j, int64_t none);
void lt_farjson_skip(struct lt_farjson *j);

#endif
