// One end of a Leat channel, written from leat-channel(7) around flynn/noise;
// ../driver.c says what it does and what its arguments are.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/flynn/noise"
)

const (
	prologue = "LEATCH\x00\x01"
	flagEnd  = 1
	flagKey  = 2
	batch    = 20
	big      = 70000
	plainMax = 65518
)

type channel struct {
	conn                    net.Conn
	out, in                 *noise.CipherState
	fault                   string
	sent, received, renewed int
	ended                   bool
	stream                  []byte
}

func exit(code int, why interface{}) {
	fmt.Fprintln(os.Stderr, "flynn:", why)
	os.Exit(code)
}

func refuse(err error) {
	if err != nil {
		exit(3, err)
	}
}

func (c *channel) write(p []byte) {
	_, err := c.conn.Write(p)
	refuse(err)
}

func (c *channel) read(n int) []byte {
	p := make([]byte, n)
	_, err := io.ReadFull(c.conn, p)
	refuse(err)
	return p
}

func pair(first byte) noise.DHKey {
	var secret [32]byte
	for i := range secret {
		secret[i] = first + byte(i)
	}
	k, err := noise.DH25519.GenerateKeypair(bytes.NewReader(secret[:]))
	refuse(err)
	return k
}

func (c *channel) shakeHands(isBroker bool) {
	keys := []noise.DHKey{pair(1), pair(33)}
	config := noise.Config{
		CipherSuite: noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashSHA512),
		Random:      rand.Reader, Pattern: noise.HandshakeXK,
		Prologue: []byte(prologue), Initiator: !isBroker, StaticKeypair: keys[0],
	}
	if isBroker {
		config.StaticKeypair = keys[1]
	} else if c.fault == "wrong" {
		config.PeerStatic = keys[0].Public
	} else {
		config.PeerStatic = keys[1].Public
	}
	hs, err := noise.NewHandshakeState(config)
	refuse(err)
	var toBroker, toClient *noise.CipherState
	var message []byte
	if isBroker {
		hello := c.read(56)
		if string(hello[:8]) != prologue {
			exit(3, "prologue")
		}
		_, _, _, err = hs.ReadMessage(nil, hello[8:])
		refuse(err)
		message, _, _, err = hs.WriteMessage(nil, nil)
		refuse(err)
		c.write(message)
		_, toBroker, toClient, err = hs.ReadMessage(nil, c.read(64))
		refuse(err)
		if !bytes.Equal(hs.PeerStatic(), keys[0].Public) {
			exit(1, "another peer")
		}
		c.out, c.in = toClient, toBroker
	} else {
		message, _, _, err = hs.WriteMessage(nil, nil)
		refuse(err)
		c.write(append([]byte(prologue), message...))
		_, _, _, err = hs.ReadMessage(nil, c.read(48))
		refuse(err)
		message, toBroker, toClient, err = hs.WriteMessage(nil, nil)
		refuse(err)
		c.write(message)
		c.out, c.in = toBroker, toClient
	}
}

func (c *channel) send(text []byte, flags byte) {
	c.sent++
	if c.sent%100 == 0 {
		flags |= flagKey
	}
	sealed, err := c.out.Encrypt([]byte{0, 0}, nil, append([]byte{flags}, text...))
	refuse(err)
	binary.BigEndian.PutUint16(sealed, uint16(len(sealed)-2))
	if flags&flagKey != 0 {
		c.out.Rekey()
		c.renewed++
	}
	if c.sent == 50 && c.fault == "spoil" {
		sealed[len(sealed)-1] ^= 1
	}
	if c.sent == 50 && c.fault == "cut" {
		exit(3, "cut")
	}
	c.write(sealed)
	if c.sent == 50 && c.fault == "again" {
		c.write(sealed)
	}
}

func (c *channel) receive() {
	n := int(binary.BigEndian.Uint16(c.read(2)))
	if n < 17 || c.ended {
		exit(3, "a record")
	}
	text, err := c.in.Decrypt(nil, nil, c.read(n))
	refuse(err)
	c.received++
	if text[0]&^(flagEnd|flagKey) != 0 {
		exit(3, "flags")
	}
	if text[0]&flagKey != 0 {
		c.in.Rekey()
	}
	c.ended = text[0]&flagEnd != 0
	c.stream = append(c.stream, text[1:]...)
}

func message(i, who int) []byte {
	n := i * 7919 % 1500
	if i%1000 == 999 {
		n = big
	}
	p := make([]byte, 4+n)
	binary.BigEndian.PutUint32(p, uint32(n))
	for j := 0; j < n; j++ {
		p[4+j] = byte(i*31 + who + j*7)
	}
	return p
}

func (c *channel) exchange(first, end, mine int) {
	var p []byte
	for i := first; i < end; i++ {
		p = append(p, message(i, mine)...)
	}
	for len(p) > 0 {
		n := 1 + c.sent*12289%4000
		if len(p) > big {
			n = plainMax
		}
		if n > len(p) {
			n = len(p)
		}
		c.send(p[:n], 0)
		p = p[n:]
	}
	for i := first; i < end; i++ {
		want := message(i, 3-mine)
		for len(c.stream) < len(want) {
			if c.ended {
				exit(1, "ended too early")
			}
			c.receive()
		}
		if !bytes.Equal(c.stream[:len(want)], want) {
			exit(1, "another message")
		}
		c.stream = c.stream[len(want):]
	}
}

func main() {
	isBroker := os.Args[1] == "broker"
	count, _ := strconv.Atoi(os.Args[2])
	c := &channel{}
	var err error
	mine := 1
	if isBroker {
		mine = 2
		listening, err := net.Listen("tcp", "127.0.0.1:0")
		refuse(err)
		fmt.Println("port", listening.Addr().(*net.TCPAddr).Port)
		c.conn, err = listening.Accept()
		refuse(err)
	} else {
		if len(os.Args) > 4 {
			c.fault = os.Args[4]
		}
		c.conn, err = net.Dial("tcp", "127.0.0.1:"+os.Args[3])
		refuse(err)
	}
	refuse(c.conn.SetDeadline(time.Now().Add(120 * time.Second)))
	c.shakeHands(isBroker)
	if isBroker {
		c.send(nil, 0)
	} else {
		c.receive()
	}
	if len(c.stream) > 0 {
		exit(1, "the first record is not empty")
	}
	for first := 0; first < count; first += batch {
		end := first + batch
		if end > count {
			end = count
		}
		c.exchange(first, end, mine)
	}
	c.send(nil, flagEnd)
	for !c.ended {
		c.receive()
	}
	if len(c.stream) > 0 {
		exit(1, "more than was to come")
	}
	fmt.Printf("done: %d records sent, %d received, %d keys\n", c.sent, c.received, c.renewed)
}
