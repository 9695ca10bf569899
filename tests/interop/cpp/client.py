"""client.py - the C++ client (librocketmq.so) as producer and consumer, through
its C calls: named cases that print "case cpp.NAME ok|fail ANSWER" each.

	PYTHONPATH=.../cpp python3 client.py NAMESRV BROKER [PATTERN...]
"""
import ctypes
import fnmatch
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from rocketmq.client import Message, MessageModel, Producer, PullConsumer, PushConsumer
from rocketmq.client import RecvMessage, dll

namesrv, broker, *patterns = sys.argv[1:]
stamp = f'{time.time_ns() // 10**8:x}{os.getpid():x}'


def fresh(name):
    return f'cpp-{name}-{stamp}'


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def until(seconds, what, holds):
    """For what no event tells: asks again each 50 ms."""
    end = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < end, f'not within {seconds} s: {what}')
        time.sleep(0.05)


def ask(address, code, fields):
    """One request frame, and its answer's code."""
    header = json.dumps({'code': code, 'extFields': fields, 'flag': 0,
                         'language': 'CPP', 'opaque': 1, 'version': 479}).encode()
    host, port = address.split(':')
    with socket.create_connection((host, int(port)), 20) as s:
        s.sendall(struct.pack('>II', 4 + len(header), len(header)) + header)
        f = s.makefile('rb')
        size, head = struct.unpack('>II', f.read(8))
        return json.loads(f.read(size - 4)[:head & 0xffffff])['code']


def topic(name, queues):
    t = fresh(name)
    code = ask(broker, 17, {
        'topic': t, 'defaultTopic': 'TBW102', 'readQueueNums': str(queues),
        'writeQueueNums': str(queues), 'perm': '6',
        'topicFilterType': 'SINGLE_TAG', 'topicSysFlag': '0', 'order': 'false'})
    check(code == 0, f'topic refused: {code}')
    until(40, 'a route', lambda: ask(namesrv, 105, {'topic': t}) == 0)
    return t


def message(t, body, tag='t', keys=None, **properties):
    m = Message(t)
    m.set_body(body)
    m.set_tags(tag)
    if keys:
        m.set_keys(keys)
    for name, value in properties.items():
        m.set_property(name, value)
    return m


class Sending:
    """A producer, started; ended with the block."""

    def __init__(self):
        self.p = Producer(fresh(f'producers-{threading.get_ident()}'), timeout=20000,
                          max_message_size=1 << 22)
        self.p.set_namesrv_addr(namesrv)

    def __enter__(self):
        self.p.start()
        return self.p

    def __exit__(self, *_):
        self.p.shutdown()


def fill(t, prefix, count):
    with Sending() as p:
        for i in range(count):
            p.send_sync(message(t, f'{prefix}{i}'))


class Inbox:
    """A push consumer and what it was given, in the order it came."""
    instances = 0

    def __init__(self, group, t, tags='*', handler=lambda m: True, orderly=False,
                 model=MessageModel.CLUSTERING):
        Inbox.instances += 1
        self.got = []
        self.handler = handler
        self.c = PushConsumer(fresh(group), orderly=orderly, message_model=model)
        self.c.set_namesrv_addr(namesrv)
        self.c.set_instance_name(f'c{Inbox.instances}-{os.getpid()}-{stamp}')
        self.c.set_thread_count(4)
        check(dll.Subscribe(self.c._handle, t.encode(), tags.encode()) == 0, 'subscribed')
        self.c._register_callback(self.given)

    def given(self, _, handle):
        """0: consumed, 1: again later."""
        m = RecvMessage(handle)
        copy = {'body': m.body.decode(), 'tags': (m.tags or b'').decode(),
                'keys': (m.keys or b'').decode(), 'queue': m.queue_id,
                'again': m.reconsume_times, 'own': (m['own'] or b'').decode()}
        self.got.append(copy)
        return 0 if self.handler(copy) else 1

    def __enter__(self):
        self.c.start()
        return self

    def __exit__(self, *_):
        self.c.shutdown()

    def bodies(self):
        return [m['body'] for m in self.got]

    def arrived(self, n, quiet=1.5):
        """At least n, and then nothing more for a while."""
        until(100, f'{n} messages', lambda: len(self.got) >= n)
        before = -1
        while before != len(self.got):
            before = len(self.got)
            time.sleep(quiet)
        return self

    def distinct(self):
        return f'got {len(self.got)} distinct {len(set(self.bodies()))}'


# --- cases --------------------------------------------------------------------


def send_sync():
    t = topic('send', 1)
    with Sending() as p:
        sent = [p.send_sync(message(t, f'm{i}')) for i in range(8)]
    return f'{sorted({s.status.name for s in sent})} offsets {[s.offset for s in sent]} ' \
        f'ids {len({s.msg_id for s in sent})}'


def send_async():
    t = topic('async', 4)
    done, failed = [], []
    with Sending() as p:
        for i in range(100):
            p.send_async(message(t, f'm{i}'), done.append, failed.append)
        until(60, 'answers', lambda: len(done) + len(failed) == 100)
    with Inbox('async-g', t) as inbox:
        return f'{len(done)} of 100 {inbox.arrived(100).distinct()}'


def send_oneway():
    t = topic('oneway', 4)
    with Sending() as p:
        for i in range(50):
            p.send_oneway(message(t, f'm{i}'))
        with Inbox('oneway-g', t) as inbox:
            return inbox.arrived(50).distinct()


def send_batch():
    t = topic('batch', 1)
    with Sending() as p:
        r = p.send_batch([message(t, f'b{i}', tag='a' if i % 2 else 'b') for i in range(10)])
    with Inbox('batch-g', t) as inbox:  # the client does not mark it as a batch
        return f'{r.status.name} offset {r.offset} got {len(inbox.arrived(1).got)}'


def send_sizes():
    t = topic('sizes', 1)
    bodies = ['x' * n for n in (1, 4096, 65536, 1 << 20)]
    with Sending() as p:
        sent = [p.send_sync(message(t, b)).status.name for b in bodies]
    with Inbox('sizes-g', t) as inbox:
        return f'{sent} the same {sorted(inbox.arrived(4).bodies(), key=len) == bodies}'


def send_delayed():
    t = topic('delayed', 1)
    at = []
    with Inbox('delayed-g', t, handler=lambda m: at.append(time.monotonic()) or True) as inbox:
        fill(t, 'now', 1)
        inbox.arrived(1, 0.1)
        with Sending() as p:
            m = message(t, 'later')
            m.set_delay_time_level(2)
            began = time.monotonic()
            p.send_sync(m)
        inbox.arrived(2, 0.1)
    return f"{'not early' if at[1] - began > 1.9 else 'early'}, {inbox.bodies()}"


def send_orderly():
    t = topic('orderly', 4)
    with Sending() as p:
        for i in range(40):
            p.send_orderly(message(t, f'{i}'), i % 4)
    seen = {}
    with Inbox('orderly-g', t, orderly=True) as inbox:
        for m in inbox.arrived(40).got:
            seen.setdefault(m['queue'], []).append(int(m['body']))
    check(all(v == sorted(v) for v in seen.values()), f'order: {seen}')
    return f'{inbox.distinct()} {len(seen)} queues, each in order'


def consume():
    t = topic('consume', 4)
    fill(t, 'm', 100)
    with Inbox('consume-g', t) as inbox:
        return inbox.arrived(100).distinct()


def consume_properties():
    t = topic('properties', 1)
    with Sending() as p:
        p.send_sync(message(t, 'b', tag='a tag', keys='k1 k2', own='ä€😀 =:;'))
    with Inbox('properties-g', t) as inbox:
        m = inbox.arrived(1).got[0]
        return '|'.join((m['tags'], m['keys'], m['own']))


def consume_tags():
    t = topic('tags', 2)
    with Sending() as p:
        for tag in ('a', 'b', 'c', 'Aa', 'BB'):  # the last two have one hash
            p.send_sync(message(t, tag, tag=tag))
    with Inbox('tags-g', t, 'a || Aa') as inbox:
        return ' '.join(sorted(inbox.arrived(2).bodies()))


def consume_retried():
    t = topic('retried', 1)
    with Inbox('retried-g', t, handler=lambda m: m['body'] != 'm1' or m['again'] == 2) as inbox:
        fill(t, 'm', 4)
        inbox.arrived(6)
        times = [m['again'] for m in inbox.got if m['body'] == 'm1']
        return f'{inbox.distinct()} {times}'


def consume_broadcast():
    t = topic('broadcast', 2)
    with Inbox('broadcast-g', t, model=MessageModel.BROADCASTING) as a, \
            Inbox('broadcast-g', t, model=MessageModel.BROADCASTING) as b:
        # A new member begins at the end: until both are there.
        n = [0]

        def both():
            fill(t, f'first{n[0]}-', 2)
            n[0] += 1
            return a.got and b.got
        until(60, 'two members', both)
        a.arrived(1), b.arrived(1)
        del a.got[:], b.got[:]
        fill(t, 'm', 20)
        return f'{a.arrived(20).distinct()}; {b.arrived(20).distinct()}'


def consume_continued():
    t = topic('continued', 2)
    rounds = []
    for r in range(2):
        fill(t, f'r{r}-', 6)
        with Inbox('continued-g', t) as inbox:
            rounds.append(' '.join(sorted(inbox.arrived(6).bodies())))
    return '; '.join(rounds)


def group_join_leave():
    t = topic('join', 4)
    with Inbox('join-g', t) as a:
        fill(t, 'a', 20)
        a.arrived(20)
        b = Inbox('join-g', t)
        with b:
            n = [0]

            def shared():
                fill(t, f'b{n[0]}-', 8)
                n[0] += 1
                return len(b.got) > 0
            until(60, 'a share', shared)
        fill(t, 'c', 20)
        want = 40 + 8 * n[0]
        until(100, 'all', lambda: len(set(a.bodies() + b.bodies())) >= want)
    return 'none lost'


def pull():
    t = topic('pull', 2)
    fill(t, 'm', 20)
    c = PullConsumer(fresh('pull-g'))
    check(dll.SetPullConsumerNameServerAddress(c._handle, namesrv.encode()) == 0, 'address')
    c.start()
    got = sorted(m.body.decode() for m in c.pull(t))
    c.shutdown()
    return f'got {len(got)} distinct {len(set(got))}'


cases = [send_sync, send_async, send_oneway, send_batch, send_sizes, send_delayed,
         send_orderly, consume, consume_properties, consume_tags, consume_retried,
         consume_broadcast, consume_continued, group_join_leave, pull]


def outcome(case):
    try:
        return 'ok ' + case().replace(f'-{stamp}', '')
    except Exception as e:
        traceback.print_exc()
        return f'fail {e}'.replace('\n', ' ')


def apart(case):
    """In a process of its own: the library's producers disturb each other."""
    run = subprocess.run([sys.executable, __file__, namesrv, broker, '--one', case.__name__],
                         stdout=subprocess.PIPE, text=True, timeout=300)
    return run.stdout.strip() or f'fail the client ended with {run.returncode}'


if patterns[:1] == ['--one']:
    print(outcome(globals()[patterns[1]]), flush=True)
    os._exit(0)  # the library's own threads do not matter any more
bad = 0
with ThreadPoolExecutor(3) as threads:
    runs = [(name, threads.submit(apart, case)) for case in cases
            for name in ['cpp.' + case.__name__.replace('_', '-')]
            if not patterns or any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    for name, run in runs:
        print('case', name, run.result(), flush=True)
        bad |= run.result().startswith('fail')
sys.exit(bad)
