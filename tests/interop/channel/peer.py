"""One end of a Leat channel, written from leat-channel(7) around somebody
else's Noise; driver.c says what it does and what its arguments are.

  peer.py noiseprotocol|dissononce broker COUNT
  peer.py noiseprotocol|dissononce client COUNT PORT [FAULT]

Or a client of a real broker, which sends COUNT messages to a topic and prints
their bodies once they are all acknowledged:

  peer.py noiseprotocol|dissononce send COUNT PORT BROKERKEY TOPIC
"""
import base64
import socket
import struct
import sys

PROLOGUE = b"LEATCH\0\1"
END, REKEY = 1, 2
BATCH, BIG, PLAIN_MAX = 20, 70000, 65518
SECRET = [bytes(range(1, 33)), bytes(range(33, 65))]  # client, broker


class Noiseprotocol:
    def __init__(self, is_broker, broker):
        from noise.connection import Keypair, NoiseConnection

        self.n = NoiseConnection.from_name(b"Noise_XK_25519_ChaChaPoly_SHA512")
        self.n.set_prologue(PROLOGUE)
        self.n.set_keypair_from_private_bytes(Keypair.STATIC, SECRET[is_broker])
        if is_broker:
            self.n.set_as_responder()
        else:
            self.n.set_as_initiator()
            self.n.set_keypair_from_public_bytes(
                Keypair.REMOTE_STATIC, broker
            )
        self.n.start_handshake()

    def write(self):
        return bytes(self.n.write_message())

    def read(self, message):
        assert self.n.read_message(message) == b""

    def seal(self, text):
        return self.n.encrypt(text)

    def open(self, sealed):
        return self.n.decrypt(sealed)

    def rekey_out(self):
        self.n.rekey_outbound_cipher()

    def rekey_in(self):
        self.n.rekey_inbound_cipher()


class Dissononce:
    """Its rekey() begins to count anew and keeps 48 bytes, where revision 34
    goes on counting and keeps 32: the new key is set by hand."""

    def __init__(self, is_broker, broker):
        from dissononce.cipher.chachapoly import ChaChaPolyCipher
        from dissononce.dh.private import PrivateKey
        from dissononce.dh.x25519.x25519 import X25519DH
        from dissononce.hash.sha512 import SHA512Hash
        from dissononce.processing.handshakepatterns.interactive.XK import (
            XKHandshakePattern,
        )
        from dissononce.processing.impl.cipherstate import CipherState
        from dissononce.processing.impl.handshakestate import HandshakeState
        from dissononce.processing.impl.symmetricstate import SymmetricState

        dh = X25519DH()
        state = SymmetricState(CipherState(ChaChaPolyCipher()), SHA512Hash())
        self.is_broker = is_broker
        self.h = HandshakeState(state, dh)
        self.h.initialize(
            XKHandshakePattern(),
            not is_broker,
            PROLOGUE,
            s=dh.generate_keypair(PrivateKey(SECRET[is_broker])),
            rs=None if is_broker else dh.create_public(broker),
        )

    def _split(self, ciphers):
        if ciphers:
            self.out, self.inn = reversed(ciphers) if self.is_broker else ciphers

    def write(self):
        message = bytearray()
        self._split(self.h.write_message(b"", message))
        return bytes(message)

    def read(self, message):
        payload = bytearray()
        self._split(self.h.read_message(message, payload))
        assert payload == b""

    def seal(self, text):
        return self.out.encrypt_with_ad(b"", text)

    def open(self, sealed):
        return self.inn.decrypt_with_ad(b"", sealed)

    def _rekey(self, c):
        n = c._nonce
        c.initialize_key(c.cipher.rekey(c._key)[:32])
        c.set_nonce(n)

    def rekey_out(self):
        self._rekey(self.out)

    def rekey_in(self):
        self._rekey(self.inn)


def public(secret):
    from cryptography.hazmat.primitives.asymmetric import x25519

    key = x25519.X25519PrivateKey.from_private_bytes(secret)
    return key.public_key().public_bytes_raw()


class Closed(Exception):
    pass


class Channel:
    def __init__(self, s, noise, fault):
        self.s, self.noise, self.fault = s, noise, fault
        self.sent = self.received = self.renewed = 0
        self.ended = False
        self.stream = bytearray()

    def read_all(self, n):
        p = b""
        while len(p) < n:
            more = self.s.recv(n - len(p))
            if not more:
                raise Closed("closed while reading")
            p += more
        return p

    def shake_hands(self, is_broker):
        if is_broker:
            hello = self.read_all(56)
            if hello[:8] != PROLOGUE:
                raise Closed("prologue")
            self.noise.read(hello[8:])
            self.s.sendall(self.noise.write())
            self.noise.read(self.read_all(64))
        else:
            self.s.sendall(PROLOGUE + self.noise.write())
            self.noise.read(self.read_all(48))
            self.s.sendall(self.noise.write())

    def send(self, text, end=False):
        self.sent += 1
        renew = self.sent % 100 == 0
        flags = (END if end else 0) | (REKEY if renew else 0)
        sealed = self.noise.seal(bytes([flags]) + text)
        if renew:
            self.noise.rekey_out()
            self.renewed += 1
        record = struct.pack(">H", len(sealed)) + sealed
        if self.sent == 50 and self.fault == "spoil":
            record = record[:-1] + bytes([record[-1] ^ 1])
        if self.sent == 50 and self.fault == "cut":
            raise Closed("cut")
        self.s.sendall(record)
        if self.sent == 50 and self.fault == "again":
            self.s.sendall(record)

    def receive(self):
        (n,) = struct.unpack(">H", self.read_all(2))
        if n < 17 or self.ended:
            raise Closed("a record")
        text = self.noise.open(self.read_all(n))
        self.received += 1
        if text[0] & ~(END | REKEY):
            raise Closed("flags")
        if text[0] & REKEY:
            self.noise.rekey_in()
        self.ended = bool(text[0] & END)
        self.stream += text[1:]


BODIES = [bytes((s + 7 * j) & 255 for j in range(256)) * 274 for s in range(256)]


def message(i, who):
    n = BIG if i % 1000 == 999 else i * 7919 % 1500
    return struct.pack(">I", n) + BODIES[(i * 31 + who) & 255][:n]


def play(c, is_broker, count):
    c.shake_hands(is_broker)
    if is_broker:
        c.send(b"")
    else:
        c.receive()
    assert not c.stream
    for first in range(0, count, BATCH):
        batch = range(first, min(first + BATCH, count))
        p = b"".join(message(i, 1 + is_broker) for i in batch)
        while p:
            n = PLAIN_MAX if len(p) > BIG else 1 + c.sent * 12289 % 4000
            c.send(p[:n])
            p = p[n:]
        for i in batch:
            want = message(i, 2 - is_broker)
            while len(c.stream) < len(want):
                assert not c.ended
                c.receive()
            assert c.stream[: len(want)] == want
            del c.stream[: len(want)]
    c.send(b"", True)
    while not c.ended:
        c.receive()
    assert not c.stream


def command(code, opaque, fields, body):
    """A request in the binary form."""
    ext = b""
    for name, value in fields.items():
        ext += struct.pack(">H", len(name)) + name.encode()
        ext += struct.pack(">I", len(value)) + value.encode()
    header = struct.pack(">hBhiiI", code, 7, 479, opaque, 0, 0)
    header += struct.pack(">I", len(ext)) + ext
    head = struct.pack(">II", 4 + len(header) + len(body), 1 << 24 | len(header))
    return head + header + body


def send_messages(c, count, topic):
    c.shake_hands(0)
    c.receive()
    assert not c.stream
    bodies = [b"from another implementation, %d" % i for i in range(count)]
    fields = dict(a="others", b=topic, c="TBW102", d="4", f="0", g="1758000000123")
    fields.update(h="0", j="0", k="false", m="false")
    for first in range(0, count, 100):
        batch = range(first, min(first + 100, count))
        p = b"".join(
            command(310, i, dict(fields, e=str(i % 4)), bodies[i]) for i in batch
        )
        while p:  # records that end anywhere
            n = 1 + c.sent * 12289 % 4000
            c.send(p[:n])
            p = p[n:]
        wanted = set(batch)
        while wanted:
            while len(c.stream) < 4 or len(c.stream) < 4 + int.from_bytes(
                c.stream[:4], "big"
            ):
                assert not c.ended
                c.receive()
            n = 4 + int.from_bytes(c.stream[:4], "big")
            assert c.stream[4] == 1  # the form of the request
            code, _, _, opaque, flag = struct.unpack(">hBhii", c.stream[8:21])
            assert (code, flag & 1) == (0, 1), (code, bytes(c.stream[:n]))
            wanted.remove(opaque)
            del c.stream[:n]
    c.send(b"", True)
    for body in bodies:
        print(body.decode())


def main():
    library, role, count = sys.argv[1:4]
    is_broker = int(role == "broker")
    fault = sys.argv[5] if role == "client" and len(sys.argv) > 5 else ""
    make = {"noiseprotocol": Noiseprotocol, "dissononce": Dissononce}[library]
    broker = public(SECRET[0 if fault == "wrong" else 1])
    if role == "send":
        broker = base64.urlsafe_b64decode(sys.argv[5] + "=")
    if is_broker:
        listening = socket.create_server(("127.0.0.1", 0))
        print("port", listening.getsockname()[1], flush=True)
        s, _ = listening.accept()
    else:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[4])))
    s.settimeout(120)
    c = Channel(s, make(is_broker, broker), fault)
    try:
        if role == "send":
            send_messages(c, int(count), sys.argv[6])
            return
        play(c, is_broker, int(count))
    except AssertionError:
        raise
    except Exception as e:  # each library has its own for what does not open
        print(f"{library}: {type(e).__name__} {e}", file=sys.stderr)
        sys.exit(3)
    print(f"done: {c.sent} records sent, {c.received} received, {c.renewed} keys")


main()
