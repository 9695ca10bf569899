// main.go - the Go client v2 as producer, consumer and tool: named cases that
// print "case go.NAME ok|fail ANSWER" each.
//
//	goclient NAMESRV BROKER [PATTERN...]
package main

import (
	"context"
	"fmt"
	"os"
	"path"
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
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var (
	namesrv, broker string
	stamp           = strconv.FormatInt(time.Now().UnixNano()/1e8, 36)
	background      = context.Background()
	instances       int32
)

var cases = []struct {
	name string
	run  func() string
}{
	{"send-sync", sendSync}, {"send-async", sendAsync}, {"send-oneway", sendOneway},
	{"send-batch", sendBatch}, {"send-sizes", sendSizes}, {"send-delayed", sendDelayed},
	{"send-unknown-topic", sendUnknown}, {"send-read-only", sendReadOnly},
	{"transaction", transaction}, {"transaction-asked", transactionAsked},
	{"request-reply", requestReply}, {"consume", consume}, {"consume-tags", consumeTags},
	{"consume-properties", consumeProperties}, {"consume-retried", consumeRetried},
	{"consume-dead-letter", consumeDead}, {"consume-orderly", consumeOrderly},
	{"consume-broadcast", consumeBroadcast}, {"consume-continued", consumeContinued},
	{"consume-no-route", consumeNoRoute}, {"group-join-leave", joinLeave},
	{"pull", pull}, {"topics", topics},
}

// --- the frame ---------------------------------------------------------------

type failure string

func check(holds bool, format string, values ...interface{}) {
	if !holds {
		panic(failure(fmt.Sprintf(format, values...)))
	}
}

func must(err error) {
	check(err == nil, "%v", err)
}

func until(seconds int, what string, holds func() bool) {
	for end := time.Now().Add(time.Duration(seconds) * time.Second); !holds(); {
		check(time.Now().Before(end), "not within %d s: %s", seconds, what)
		time.Sleep(50 * time.Millisecond)
	}
}

func fresh(name string) string { return name + "-" + stamp }

func normal(answer string) string {
	for from, to := range map[string]string{"-" + stamp: "", namesrv: "NAMESRV", broker: "BROKER"} {
		answer = strings.ReplaceAll(answer, from, to)
	}
	return strings.Join(strings.Fields(answer), " ")
}

func outcome(run func() string) (answer string) {
	done := make(chan string, 1)
	go func() {
		defer func() {
			if why := recover(); why != nil {
				done <- fmt.Sprint("fail ", why)
			}
		}()
		done <- "ok " + run()
	}()
	select {
	case answer = <-done:
	case <-time.After(150 * time.Second):
		answer = "fail no end after 150 s"
	}
	return normal(answer)
}

func wanted(name string, patterns []string) bool {
	for _, pattern := range patterns {
		if match, _ := path.Match(pattern, name); match {
			return true
		}
	}
	return len(patterns) == 0
}

func main() {
	namesrv, broker = os.Args[1], os.Args[2]
	rlog.SetLogLevel("fatal")
	answers := make([]chan string, len(cases))
	slots := make(chan bool, 4)
	for i, c := range cases {
		if !wanted("go."+c.name, os.Args[3:]) {
			continue
		}
		answers[i] = make(chan string, 1)
		go func(run func() string, answer chan string) {
			slots <- true
			answer <- outcome(run)
			<-slots
		}(c.run, answers[i])
	}
	status := 0
	for i, c := range cases {
		if answers[i] == nil {
			continue
		}
		answer := <-answers[i]
		fmt.Println("case go." + c.name + " " + answer)
		if strings.HasPrefix(answer, "fail") {
			status = 1
		}
	}
	os.Exit(status)
}

// --- what the cases use ----------------------------------------------------------

func resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{namesrv})
}

func instance() string {
	return "i" + strconv.Itoa(int(atomic.AddInt32(&instances, 1))) + "-" + strconv.Itoa(os.Getpid())
}

func topic(name string, queues, perm int) string {
	a, err := admin.NewAdmin(admin.WithResolver(resolver()))
	must(err)
	defer a.Close()
	name = fresh("go-" + name)
	must(a.CreateTopic(background, admin.WithTopicCreate(name), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues), admin.WithPerm(perm)))
	until(40, "route of "+name, func() bool {
		list, err := a.FetchAllTopicList(background)
		if err == nil {
			for _, one := range list.TopicList {
				if one == name {
					return true
				}
			}
		}
		return false
	})
	return name
}

func newProducer(options ...producer.Option) rocketmq.Producer {
	options = append([]producer.Option{producer.WithNsResolver(resolver()),
		producer.WithInstanceName(instance()), producer.WithGroupName("go-producers"),
		producer.WithSendMsgTimeout(20 * time.Second)}, options...)
	p, err := rocketmq.NewProducer(options...)
	must(err)
	must(p.Start())
	return p
}

func message(topic, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body))
}

func fill(topic, prefix string, count int) {
	p := newProducer()
	defer p.Shutdown()
	for i := 0; i < count; i++ {
		_, err := p.SendSync(background, message(topic, prefix+strconv.Itoa(i)))
		must(err)
	}
}

type inbox struct {
	sync.Mutex
	got []*primitive.MessageExt
	c   rocketmq.PushConsumer
}

func (in *inbox) add(ms []*primitive.MessageExt) int {
	in.Lock()
	defer in.Unlock()
	in.got = append(in.got, ms...)
	return len(in.got)
}

func (in *inbox) bodies() []string {
	in.Lock()
	defer in.Unlock()
	bodies := []string{}
	for _, m := range in.got {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

func (in *inbox) await(n int) *inbox {
	until(90, fmt.Sprint(n, " messages"), func() bool { return len(in.bodies()) >= n })
	return in
}

func (in *inbox) quiet(ms int) *inbox {
	for before := -1; before != len(in.bodies()); {
		before = len(in.bodies())
		time.Sleep(time.Duration(ms) * time.Millisecond)
	}
	return in
}

func sorted(all ...*inbox) []string {
	set := map[string]bool{}
	for _, in := range all {
		for _, b := range in.bodies() {
			set[b] = true
		}
	}
	list := []string{}
	for b := range set {
		list = append(list, b)
	}
	sort.Strings(list)
	return list
}

func (in *inbox) distinct() string {
	return fmt.Sprint("got ", len(in.bodies()), " distinct ", len(sorted(in)))
}

type handler func(*primitive.MessageExt) consumer.ConsumeResult

func always(*primitive.MessageExt) consumer.ConsumeResult { return consumer.ConsumeSuccess }

func start(group, topic, tags string, handle handler, options ...consumer.Option) (*inbox, error) {
	in := &inbox{}
	options = append([]consumer.Option{consumer.WithNsResolver(resolver()),
		consumer.WithGroupName(fresh(group)), consumer.WithInstance(instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)
	c, err := rocketmq.NewPushConsumer(options...)
	must(err)
	in.c = c
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	must(c.Subscribe(topic, selector, func(_ context.Context, ms ...*primitive.MessageExt) (
		consumer.ConsumeResult, error) {
		in.add(ms)
		for _, m := range ms {
			if result := handle(m); result != consumer.ConsumeSuccess {
				return result, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	return in, c.Start()
}

func consuming(group, topic, tags string, handle handler, options ...consumer.Option) *inbox {
	in, err := start(group, topic, tags, handle, options...)
	must(err)
	return in
}

// All that is in a topic, read by a group that nobody else is in.
func read(topic string, n int) *inbox {
	in := consuming("go-read-"+instance(), topic, "*", always)
	defer in.c.Shutdown()
	return in.await(n).quiet(1000)
}
