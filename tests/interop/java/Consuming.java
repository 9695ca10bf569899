// Consuming.java - one Java push consumer and what it is given.

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

final class Consuming {
	private Consuming() {
	}

	static void add() {
		Suite.add("consume-100k", () -> many(100_000));
		Suite.add("consume-concurrently", Consuming::concurrently);
		Suite.add("consume-in-batches", Consuming::inBatches);
		Suite.add("consume-tags", Consuming::tags);
		Suite.add("consume-two-topics", Consuming::twoTopics);
		Suite.add("consume-woken", Consuming::woken);
		Suite.add("consume-from-first", () -> from(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET));
		Suite.add("consume-from-last", () -> from(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET));
		Suite.add("consume-from-time", () -> from(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP));
		Suite.add("consume-continued", Consuming::continued);
		Suite.add("consume-retried", Consuming::retried);
		Suite.add("consume-retried-later", Consuming::retriedLater);
		Suite.add("consume-dead-letter", Consuming::deadLetter);
		Suite.add("consume-dead-letter-at-once", Consuming::deadAtOnce);
		Suite.add("consume-orderly", Consuming::orderly);
		Suite.add("consume-orderly-suspended", Consuming::suspended);
		Suite.add("consume-orderly-dead-letter", Consuming::orderlyDead);
	}

	static void fill(String topic, String prefix, int count) throws Exception {
		DefaultMQProducer p = Sending.producer();
		for (int i = 0; i < count; i++)
			p.send(Sending.message(topic, prefix + i));
		p.shutdown();
	}

	// 128 bytes each, sent without waiting for each answer, but for some.
	private static String many(int count) throws Exception {
		String topic = Ask.topic("many", 8);
		Set<String> seen = new HashSet<>();
		AtomicInteger repeated = new AtomicInteger();
		CountDownLatch all = new CountDownLatch(count);
		Inbox[] members = {Inbox.of("many-g"), Inbox.of("many-g")};
		for (Inbox member : members) {
			member.consumer.subscribe(topic, "*");
			member.consumer.registerMessageListener((MessageListenerConcurrently) (ms, c) -> {
				synchronized (seen) {
					for (MessageExt m : ms)
						if (seen.add(Inbox.body(m).trim()))
							all.countDown();
						else
							repeated.incrementAndGet();
				}
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			member.consumer.start();
		}
		for (Inbox member : members)
			member.queues(4);
		DefaultMQProducer p = Sending.producer();
		Semaphore inFlight = new Semaphore(500);
		Set<Integer> again = java.util.concurrent.ConcurrentHashMap.newKeySet();
		for (int i = 0; i < count; i++) {
			inFlight.acquire();
			int n = i;
			p.send(Sending.message(topic, String.format("%-128d", i)), new SendCallback() {
				@Override
				public void onSuccess(SendResult r) {
					inFlight.release();
				}

				@Override
				public void onException(Throwable e) {
					again.add(n);
					inFlight.release();
				}
			});
		}
		inFlight.acquire(500);
		for (int i : again) // without a receipt in time; may be there all the same
			p.send(Sending.message(topic, String.format("%-128d", i)));
		p.shutdown();
		boolean complete = all.await(90, TimeUnit.SECONDS);
		for (Inbox member : members)
			member.close();
		Suite.check(complete, "lost %d", all.getCount());
		int unexplained = Math.max(0, repeated.get() - again.size());
		return "sent " + count + " lost 0 repeated " + unexplained;
	}

	private static String concurrently() throws Exception {
		String topic = Ask.topic("concurrently", 4);
		try (Inbox inbox = Groups.consumer("concurrently-g", topic, "*", m -> { })) {
			fill(topic, "m", 200);
			inbox.await(200, 60).quiet(1000);
			MessageExt m = inbox.all().get(0);
			return inbox.distinct() + " reconsumed " + m.getReconsumeTimes() + " from topic "
				+ m.getTopic();
		}
	}

	private static String inBatches() throws Exception {
		String topic = Ask.topic("in-batches", 1);
		fill(topic, "m", 100);
		AtomicInteger largest = new AtomicInteger();
		try (Inbox inbox = Inbox.of("in-batches-g")) {
			inbox.consumer.setConsumeMessageBatchMaxSize(16);
			inbox.consumer.subscribe(topic, "*");
			inbox.consumer.registerMessageListener((MessageListenerConcurrently) (ms, c) -> {
				largest.accumulateAndGet(ms.size(), Math::max);
				ms.forEach(inbox::add);
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			inbox.consumer.start();
			inbox.await(100, 60).quiet(1000);
			return inbox.distinct() + " at most " + largest + " at a time";
		}
	}

	private static String tags() throws Exception {
		String topic = Ask.topic("tags", 2);
		try (Inbox ab = Groups.consumer("tags-ab", topic, "a || b", m -> { });
			Inbox hash = Groups.consumer("tags-hash", topic, "Aa", m -> { })) {
			DefaultMQProducer p = Sending.producer();
			for (int i = 0; i < 5; i++)
				for (String tag : List.of("a", "b", "c", "Aa", "BB", ""))
					p.send(new Message(topic, tag, (tag + i).getBytes()));
			p.shutdown();
			ab.await(10, 60).quiet(1000);
			hash.await(5, 60).quiet(1000);
			return "a || b: " + Inbox.sorted(ab) + " Aa, not BB of the same hash: "
				+ Inbox.sorted(hash);
		}
	}

	private static String twoTopics() throws Exception {
		String one = Ask.topic("two-1", 2);
		String two = Ask.topic("two-2", 2);
		try (Inbox inbox = Inbox.of("two-g")) {
			inbox.consumer.subscribe(one, "*");
			inbox.consumer.subscribe(two, "*");
			Groups.listen(inbox, m -> { });
			inbox.consumer.start();
			fill(one, "one", 10);
			fill(two, "two", 10);
			inbox.await(20, 60).quiet(1000);
			return "of one " + inbox.count(m -> m.getTopic().equals(one)) + " of two "
				+ inbox.count(m -> m.getTopic().equals(two));
		}
	}

	// A message wakes the consumer's waiting pull.
	private static String woken() throws Exception {
		String topic = Ask.topic("consume-woken", 1);
		try (Inbox inbox = Groups.consumer("consume-woken-g", topic, "*", m -> { })) {
			fill(topic, "first", 1);
			inbox.await(1, 60).quiet(1500);
			long start = System.nanoTime();
			fill(topic, "second", 1);
			inbox.await(2, 60);
			Suite.check(System.nanoTime() - start < 5_000_000_000L, "not woken");
			return "within five seconds";
		}
	}

	// A group that never was, on a topic that has messages and gets more.
	private static String from(ConsumeFromWhere where) throws Exception {
		String topic = Ask.topic("from-" + where.name().substring(13), 1);
		fill(topic, "before", 5);
		try (Inbox inbox = Inbox.of(topic + "-g")) {
			inbox.consumer.setConsumeFromWhere(where);
			inbox.consumer.subscribe(topic, "*");
			Groups.listen(inbox, m -> { });
			inbox.consumer.start();
			inbox.queues(1).quiet(1500);
			fill(topic, "after", 5);
			Suite.until(60, "the last", () -> inbox.bodies().contains("after4"));
			inbox.quiet(1000);
			return where + " before " + inbox.count(m -> Inbox.body(m).startsWith("before"))
				+ " after " + inbox.count(m -> Inbox.body(m).startsWith("after"));
		}
	}

	private static String continued() throws Exception {
		String topic = Ask.topic("continued", 2);
		StringBuilder s = new StringBuilder();
		for (int round = 0; round < 3; round++) {
			fill(topic, "r" + round + "-", 6);
			try (Inbox inbox = Groups.consumer("continued-g", topic, "*", m -> { })) {
				inbox.await(6, 60).quiet(1500);
				s.append(Inbox.sorted(inbox)).append(' ');
			}
		}
		return s.toString();
	}

	private static String retried() throws Exception {
		String topic = Ask.topic("retried", 2);
		try (Inbox inbox = Groups.consumer("retried-g", topic, "*", m -> {
			if (m.getReconsumeTimes() < 2 && Inbox.body(m).equals("m3"))
				throw new IllegalStateException("not now");
		})) {
			fill(topic, "m", 6);
			inbox.await(8, 90).quiet(2000);
			List<String> tries = new ArrayList<>();
			for (MessageExt m : inbox.all())
				if (Inbox.body(m).equals("m3"))
					tries.add(m.getReconsumeTimes() + " of " + m.getTopic() + " delay "
						+ m.getProperty("DELAY"));
			return inbox.distinct() + " " + tries;
		}
	}

	// The listener names the delay level: 2 is two seconds.
	private static String retriedLater() throws Exception {
		String topic = Ask.topic("retried-later", 1);
		try (Inbox inbox = Inbox.of("retried-later-g")) {
			List<Long> times = new ArrayList<>();
			inbox.consumer.subscribe(topic, "*");
			inbox.consumer.registerMessageListener((MessageListenerConcurrently) (ms, c) -> {
				synchronized (times) {
					times.add(System.nanoTime());
				}
				inbox.add(ms.get(0));
				c.setDelayLevelWhenNextConsume(2);
				return inbox.all().size() == 1 ? ConsumeConcurrentlyStatus.RECONSUME_LATER
							       : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			inbox.consumer.start();
			fill(topic, "m", 1);
			inbox.await(2, 60).quiet(1000);
			long ms = (times.get(1) - times.get(0)) / 1_000_000;
			Suite.check(ms >= 1900, "again after %d ms", ms);
			return inbox.all().size() + " times, two seconds apart";
		}
	}

	private static String dead(String group) throws Exception {
		String topic = "%DLQ%" + Suite.fresh(group);
		try (Wire wire = Wire.broker()) {
			Suite.until(60, "a dead letter", () -> wire.call(30, "topic", topic, "queueId", 0)
				.number("offset") >= 1);
		}
		Ask.routed(topic);
		MessageExt m = Inbox.read(topic, 1).await(1, 1).all().get(0);
		return Inbox.body(m) + " reconsumed " + m.getReconsumeTimes() + " of "
			+ m.getProperty("RETRY_TOPIC") + " dlq origin "
			+ m.getProperty("DLQ_ORIGIN_TOPIC") + " queues to read " + tried(topic);
	}

	private static String tried(String topic) {
		return Sending.tried(() -> Inbox.queues(topic));
	}

	private static String deadLetter() throws Exception {
		String topic = Ask.topic("dead", 1);
		try (Inbox inbox = Inbox.of("dead-g")) {
			inbox.consumer.setMaxReconsumeTimes(3);
			inbox.consumer.subscribe(topic, "*");
			Groups.listen(inbox, m -> {
				throw new IllegalStateException("never");
			});
			inbox.consumer.start();
			fill(topic, "m", 1);
			inbox.await(4, 120);
			String s = dead("dead-g");
			inbox.quiet(2500);
			return inbox.all().size() + " tries, then " + s;
		}
	}

	private static String deadAtOnce() throws Exception {
		String topic = Ask.topic("dead-at-once", 1);
		try (Inbox inbox = Inbox.of("dead-at-once-g")) {
			inbox.consumer.subscribe(topic, "*");
			inbox.consumer.registerMessageListener((MessageListenerConcurrently) (ms, c) -> {
				inbox.add(ms.get(0));
				c.setDelayLevelWhenNextConsume(-1);
				return ConsumeConcurrentlyStatus.RECONSUME_LATER;
			});
			inbox.consumer.start();
			fill(topic, "m", 1);
			inbox.await(1, 60);
			String s = dead("dead-at-once-g");
			inbox.quiet(2500);
			return inbox.all().size() + " try, then " + s;
		}
	}

	// The sequence of each key as it came: "in order" or where it broke.
	static String order(Inbox... inboxes) {
		Map<String, List<Integer>> of = new TreeMap<>();
		for (Inbox inbox : inboxes)
			for (String body : inbox.bodies())
				of.computeIfAbsent(body.split("-")[0], k -> new ArrayList<>())
					.add(Integer.parseInt(body.split("-")[1]));
		for (Map.Entry<String, List<Integer>> one : of.entrySet())
			for (int i = 0; i < one.getValue().size(); i++)
				if (one.getValue().get(i) != i)
					return "out of order: " + one;
		return of.size() + " keys, each in order";
	}

	static void fillKeys(String topic, int keys, int from, int to) throws Exception {
		DefaultMQProducer p = Sending.producer();
		for (int i = from; i < to; i++)
			for (int k = 0; k < keys; k++)
				p.send(Sending.message(topic, "k" + k + "-" + i), (all, m, key) ->
					all.get((int) key % all.size()), k);
		p.shutdown();
	}

	private static String orderly() throws Exception {
		String topic = Ask.topic("orderly", 4);
		try (Inbox inbox = Groups.orderly("orderly-g", topic)) {
			fillKeys(topic, 8, 0, 50);
			inbox.await(400, 90).quiet(1000);
			return inbox.distinct() + " " + order(inbox);
		}
	}

	private static String suspended() throws Exception {
		String topic = Ask.topic("suspended", 1);
		try (Inbox inbox = Inbox.of("suspended-g")) {
			List<String> tries = new ArrayList<>();
			inbox.consumer.subscribe(topic, "*");
			inbox.consumer.registerMessageListener((MessageListenerOrderly) (ms, c) -> {
				MessageExt m = ms.get(0);
				tries.add(Inbox.body(m) + "/" + m.getReconsumeTimes());
				if (Inbox.body(m).equals("m1") && m.getReconsumeTimes() < 2)
					return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
				inbox.add(m);
				return ConsumeOrderlyStatus.SUCCESS;
			});
			inbox.consumer.start();
			fill(topic, "m", 4);
			inbox.await(4, 90).quiet(1000);
			return inbox.bodies() + " tries " + tries;
		}
	}

	private static String orderlyDead() throws Exception {
		String topic = Ask.topic("orderly-dead", 1);
		Map<String, Integer> tries = new HashMap<>();
		try (Inbox inbox = Inbox.of("orderly-dead-g")) {
			inbox.consumer.setMaxReconsumeTimes(2);
			inbox.consumer.setSuspendCurrentQueueTimeMillis(200);
			inbox.consumer.subscribe(topic, "*");
			inbox.consumer.registerMessageListener((MessageListenerOrderly) (ms, c) -> {
				MessageExt m = ms.get(0);
				tries.merge(Inbox.body(m), 1, Integer::sum);
				if (Inbox.body(m).equals("m0"))
					return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
				inbox.add(m);
				return ConsumeOrderlyStatus.SUCCESS;
			});
			inbox.consumer.start();
			fill(topic, "m", 3);
			inbox.await(2, 90);
			return "then " + inbox.bodies() + " after " + tries.get("m0") + " tries; "
				+ dead("orderly-dead-g");
		}
	}
}
