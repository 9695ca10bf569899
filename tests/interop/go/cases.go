// cases.go - the cases themselves.
package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func sendSync() string {
	t := topic("sync", 4, 6)
	p := newProducer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	defer p.Shutdown()
	queues := map[int][]int64{}
	states := map[primitive.SendStatus]int{}
	for i := 0; i < 16; i++ {
		r, err := p.SendSync(background, message(t, strconv.Itoa(i)))
		must(err)
		states[r.Status]++
		queues[r.MessageQueue.QueueId] = append(queues[r.MessageQueue.QueueId], r.QueueOffset)
	}
	return fmt.Sprint("status ", states, " queues ", queues)
}

func sendAsync() string {
	t := topic("async", 4, 6)
	p := newProducer()
	defer p.Shutdown()
	var good int32
	var all sync.WaitGroup
	for i := 0; i < 200; i++ {
		all.Add(1)
		must(p.SendAsync(background, func(_ context.Context, r *primitive.SendResult, err error) {
			if err == nil && r.Status == primitive.SendOK {
				atomic.AddInt32(&good, 1)
			}
			all.Done()
		}, message(t, strconv.Itoa(i))))
	}
	all.Wait()
	return fmt.Sprint(good, " of 200 ", read(t, 200).distinct())
}

func sendOneway() string {
	t := topic("oneway", 1, 6)
	p := newProducer()
	defer p.Shutdown()
	for i := 0; i < 50; i++ {
		must(p.SendOneWay(background, message(t, strconv.Itoa(i))))
	}
	return read(t, 50).distinct()
}

func sendBatch() string {
	t := topic("batch", 1, 6)
	p := newProducer()
	defer p.Shutdown()
	ms := []*primitive.Message{}
	for i := 0; i < 10; i++ {
		ms = append(ms, message(t, "b"+strconv.Itoa(i)))
	}
	r, err := p.SendSync(background, ms...)
	must(err)
	return fmt.Sprint("status ", r.Status, " ids ", len(strings.Split(r.OffsetMsgID, ",")), " from ",
		r.QueueOffset, " ", sorted(read(t, 10)))
}

func sendSizes() string {
	t := topic("sizes", 1, 6)
	p := newProducer()
	defer p.Shutdown()
	text := strings.Repeat("compressible ", 10000)
	_, err := p.SendSync(background, message(t, text))
	must(err)
	large := make([]byte, 4<<20)
	for i := range large { // not to be compressed below the limit
		large[i] = byte(i * i >> 8 * i)
	}
	plain := newProducer(producer.WithCompressMsgBodyOverHowmuch(1 << 30))
	defer plain.Shutdown()
	r, err := plain.SendSync(background, primitive.NewMessage(t, large))
	must(err)
	over, err := plain.SendSync(background, primitive.NewMessage(t, append(large, 0)))
	in := read(t, 2)
	check(in.bodies()[0] == text && in.bodies()[1] == string(large), "bodies differ")
	status := "none"
	if over != nil {
		status = fmt.Sprint(over.Status)
	}
	return fmt.Sprint("read back the same, 4 MiB ", r.Status, " a byte more: error ", err != nil,
		" status ", status)
}

func sendDelayed() string {
	t := topic("delayed", 1, 6)
	p := newProducer()
	defer p.Shutdown()
	begin := time.Now()
	m := message(t, "late")
	m.WithDelayTimeLevel(2)
	_, err := p.SendSync(background, m)
	must(err)
	_, err = p.SendSync(background, message(t, "prompt"))
	must(err)
	in := read(t, 2)
	check(time.Since(begin) > 1900*time.Millisecond, "came too early")
	return strings.Join(in.bodies(), " ")
}

func sendUnknown() string {
	t := fresh("go-made-by-sending")
	p := newProducer()
	defer p.Shutdown()
	r, err := p.SendSync(background, message(t, "first"))
	must(err)
	return fmt.Sprint("status ", r.Status, " ", read(t, 1).bodies())
}

func sendReadOnly() string {
	t := topic("read-only", 1, 4)
	p := newProducer(producer.WithRetry(0))
	defer p.Shutdown()
	_, err := p.SendSync(background, message(t, "x"))
	return fmt.Sprint("refused ", err != nil)
}

type listener struct {
	execute, answer primitive.LocalTransactionState
	even            bool
	asked           int32
}

func (l *listener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	if n := m.Body[len(m.Body)-1] - '0'; l.even && n%2 == 1 {
		return primitive.RollbackMessageState
	}
	return l.execute
}

func (l *listener) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	atomic.AddInt32(&l.asked, 1)
	return l.answer
}

func transactions(l *listener, group, t string, count int) rocketmq.TransactionProducer {
	p, err := rocketmq.NewTransactionProducer(l, producer.WithNsResolver(resolver()),
		producer.WithGroupName(fresh(group)), producer.WithInstanceName(instance()))
	must(err)
	must(p.Start())
	for i := 0; i < count; i++ {
		_, err = p.SendMessageInTransaction(background, message(t, "m"+strconv.Itoa(i)))
		must(err)
	}
	return p
}

func transaction() string {
	t := topic("transaction", 1, 6)
	p := transactions(&listener{execute: primitive.CommitMessageState, even: true}, "go-tx", t, 6)
	defer p.Shutdown()
	return fmt.Sprint("seen ", sorted(read(t, 3)))
}

func transactionAsked() string {
	t := topic("asked", 1, 6)
	l := &listener{execute: primitive.UnknowState, answer: primitive.CommitMessageState}
	p := transactions(l, "go-asked", t, 1)
	defer p.Shutdown()
	return fmt.Sprint("seen ", sorted(read(t, 1)), " asked ", atomic.LoadInt32(&l.asked) > 0)
}

// Apache 5.3.3 answers 1 to this client's way of sending a reply.
func requestReply() string {
	refused := make(chan string, 100)
	t := topic("request", 1, 6)
	replier := newProducer()
	defer replier.Shutdown()
	in := consuming("go-request", t, "*", func(m *primitive.MessageExt) consumer.ConsumeResult {
		reply, err := consumer.CreateReplyMessage(m, []byte("answer to "+string(m.Body)))
		if err == nil {
			_, err = replier.SendSync(background, reply)
		}
		if err != nil {
			refused <- strings.Split(err.Error(), ",")[0]
		}
		return consumer.ConsumeSuccess
	})
	defer in.c.Shutdown()
	p := newProducer()
	defer p.Shutdown()
	reply, err := p.Request(background, 20*time.Second, message(t, "q"))
	if err != nil {
		select {
		case why := <-refused:
			return "no reply, the replier was told " + why
		default:
			must(err)
		}
	}
	return string(reply.Body)
}

func consume() string {
	t := topic("consume", 4, 6)
	in := consuming("go-consume", t, "*", always)
	defer in.c.Shutdown()
	fill(t, "m", 200)
	return in.await(200).quiet(1500).distinct()
}

func consumeTags() string {
	t := topic("tags", 2, 6)
	in := consuming("go-tags", t, "a || Aa", always)
	defer in.c.Shutdown()
	p := newProducer()
	defer p.Shutdown()
	for _, tag := range []string{"a", "b", "Aa", "BB", "c"} {
		_, err := p.SendSync(background, message(t, tag).WithTag(tag))
		must(err)
	}
	return fmt.Sprint(sorted(in.await(2).quiet(1500)))
}

func consumeProperties() string {
	t := topic("properties", 1, 6)
	p := newProducer()
	defer p.Shutdown()
	m := message(t, "x").WithTag("t").WithKeys([]string{"k1", "k2"})
	m.WithProperty("own", "ä€😀 =:;")
	_, err := p.SendSync(background, m)
	must(err)
	in := read(t, 1)
	got := in.got[0]
	return strings.Join([]string{got.GetTags(), got.GetKeys(), got.GetProperty("own"), got.Topic}, "|")
}

func consumeRetried() string {
	t := topic("retried", 2, 6)
	in := consuming("go-retried", t, "*", func(m *primitive.MessageExt) consumer.ConsumeResult {
		if m.ReconsumeTimes < 2 && string(m.Body) == "m3" {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	})
	defer in.c.Shutdown()
	fill(t, "m", 6)
	in.await(8).quiet(2000)
	tries := []string{}
	for _, m := range in.got {
		if string(m.Body) == "m3" {
			tries = append(tries, fmt.Sprint(m.ReconsumeTimes, " of ", m.Topic))
		}
	}
	return fmt.Sprint(in.distinct(), " ", tries)
}

func consumeDead() string {
	t := topic("dead", 1, 6)
	in := consuming("go-dead", t, "*", func(*primitive.MessageExt) consumer.ConsumeResult {
		return consumer.ConsumeRetryLater
	}, consumer.WithMaxReconsumeTimes(2))
	fill(t, "m", 1)
	in.await(3).quiet(3500)
	in.c.Shutdown()
	// Shown there as of the topic it came from.
	var letter *inbox
	until(60, "the dead letters", func() bool {
		var err error
		letter, err = start("go-dead-reader", "%DLQ%"+fresh("go-dead"), "*", always)
		return err == nil
	})
	defer letter.c.Shutdown()
	letter.await(1)
	return fmt.Sprint(len(in.bodies()), " tries, then ", letter.bodies(), " reconsumed ",
		letter.got[0].ReconsumeTimes)
}

func consumeOrderly() string {
	t := topic("orderly", 4, 6)
	in := consuming("go-orderly", t, "*", always, consumer.WithConsumerOrder(true))
	defer in.c.Shutdown()
	p := newProducer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	defer p.Shutdown()
	for i := 0; i < 20; i++ {
		for k := 0; k < 4; k++ {
			_, err := p.SendSync(background, message(t, fmt.Sprint("k", k, "-", i)).
				WithShardingKey(fmt.Sprint("key", k)))
			must(err)
		}
	}
	in.await(80).quiet(1500)
	next := map[string]int{}
	for _, body := range in.bodies() {
		key, n, _ := strings.Cut(body, "-")
		i, _ := strconv.Atoi(n)
		check(next[key] == i, "%s out of order", body)
		next[key]++
	}
	return fmt.Sprint(in.distinct(), " ", len(next), " keys, each in order")
}

func consumeBroadcast() string {
	t := topic("broadcast", 2, 6)
	model := consumer.WithConsumerModel(consumer.BroadCasting)
	one := consuming("go-broadcast", t, "*", always, model)
	defer one.c.Shutdown()
	two := consuming("go-broadcast", t, "*", always, model)
	defer two.c.Shutdown()
	fill(t, "m", 20)
	return one.await(20).quiet(1500).distinct() + "; " + two.await(20).quiet(1500).distinct()
}

func consumeContinued() string {
	t := topic("continued", 2, 6)
	said := ""
	for round := 0; round < 2; round++ {
		fill(t, fmt.Sprint("r", round, "-"), 6)
		in := consuming("go-continued", t, "*", always)
		said += fmt.Sprint(sorted(in.await(6).quiet(1500)), " ")
		in.c.Shutdown()
	}
	return said
}

func consumeNoRoute() string {
	_, err := start("go-no-route", fresh("go-none"), "*", always)
	return fmt.Sprint("start fails ", err != nil)
}

// Both are given some while both are there; all is given once one has left.
func joinLeave() string {
	t := topic("join", 4, 6)
	one := consuming("go-join", t, "*", always)
	defer one.c.Shutdown()
	fill(t, "alone", 20)
	one.await(20).quiet(6000)
	two := consuming("go-join", t, "*", always)
	sent := 20
	until(90, "both are given some", func() bool {
		fill(t, fmt.Sprint("both", sent, "-"), 8)
		sent += 8
		return len(two.bodies()) > 0
	})
	until(90, "all", func() bool { return len(sorted(one, two)) == sent })
	two.c.Shutdown()
	fill(t, "after", 20)
	until(90, "all", func() bool { return len(sorted(one, two)) == sent+20 })
	return "none lost"
}

func pull() string {
	t := topic("pull", 1, 6)
	fill(t, "m", 10)
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(resolver()),
		consumer.WithGroupName(fresh("go-pull")), consumer.WithInstance(instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(err)
	must(c.Subscribe(t, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}))
	must(c.Start())
	defer c.Shutdown()
	got := []string{}
	until(60, "ten polled", func() bool {
		request, err := c.Poll(background, time.Second)
		if consumer.IsNoNewMsgError(err) || err != nil {
			return false
		}
		for _, m := range request.GetMsgList() {
			got = append(got, string(m.Body))
		}
		c.ACK(background, request, consumer.ConsumeSuccess)
		return len(got) >= 10
	})
	sort.Strings(got)
	return fmt.Sprint(got)
}

func topics() string {
	a, err := admin.NewAdmin(admin.WithResolver(resolver()))
	must(err)
	defer a.Close()
	t := topic("topics", 3, 6)
	queues, err := a.FetchPublishMessageQueues(background, t)
	must(err)
	must(a.DeleteTopic(background, admin.WithTopicDelete(t), admin.WithBrokerAddrDelete(broker),
		admin.WithNameSrvAddr([]string{namesrv})))
	_, err = a.FetchPublishMessageQueues(background, t)
	groups, groupErr := a.GetAllSubscriptionGroup(background, broker, 5*time.Second)
	if groupErr == nil && len(groups.SubscriptionGroupTable) == 0 {
		groupErr = errors.New("no group")
	}
	return fmt.Sprint(len(queues), " queues, deleted, then error ", err != nil, ", groups listed ",
		groupErr == nil)
}
