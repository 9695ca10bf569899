// Groups.java - several Java consumers at once: balancing, broadcast, what tools
// ask of consumers through the broker, and pop.

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;

final class Groups {
	private Groups() {
	}

	static void add() {
		Suite.add("group-join-leave", Groups::joinLeave);
		Suite.add("group-shares", Groups::shares);
		Suite.add("group-orderly-rebalance", Groups::orderlyRebalance);
		Suite.add("group-two-groups", Groups::twoGroups);
		Suite.add("group-broadcast", Groups::broadcast);
		Suite.add("group-reset-by-time", Groups::reset);
		Suite.add("group-retry-by-other", Groups::retryByOther);
		Suite.add("group-connections", Groups::connections);
		Suite.add("group-running-info", Groups::runningInfo);
		Suite.add("group-consume-directly", Groups::directly);
		Suite.add("group-status", Groups::status);
		Suite.add("pop-consume", Groups::pop);
		Suite.add("pop-consume-again", Groups::popAgain);
		Suite.add("pop-two-members", Groups::popTwo);
	}

	interface Handler {
		void handle(MessageExt m) throws Exception;
	}

	static void listen(Inbox inbox, Handler handler) {
		inbox.consumer.registerMessageListener((MessageListenerConcurrently) (ms, context) -> {
			for (MessageExt m : ms) {
				inbox.add(m);
				try {
					handler.handle(m);
				} catch (Exception e) {
					return ConsumeConcurrentlyStatus.RECONSUME_LATER;
				}
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
	}

	static Inbox consumer(String group, String topic, String tags, Handler handler)
		throws Exception {
		Inbox inbox = Inbox.of(group);
		inbox.consumer.subscribe(topic, tags);
		listen(inbox, handler);
		inbox.consumer.start();
		return inbox;
	}

	static Inbox orderly(String group, String topic) throws Exception {
		Inbox inbox = Inbox.of(group);
		inbox.consumer.subscribe(topic, "*");
		inbox.consumer.registerMessageListener((MessageListenerOrderly) (ms, context) -> {
			ms.forEach(inbox::add);
			return ConsumeOrderlyStatus.SUCCESS;
		});
		inbox.consumer.start();
		return inbox;
	}

	private static String joinLeave() throws Exception {
		String topic = Ask.topic("join", 4);
		Inbox one = consumer("join-g", topic, "*", m -> { });
		one.queues(4);
		Consuming.fill(topic, "alone", 40);
		one.await(40, 60).quiet(6000); // its progress is stored by then
		Inbox two = consumer("join-g", topic, "*", m -> { });
		one.queues(2);
		two.queues(2);
		Consuming.fill(topic, "both", 40);
		Suite.until(60, "all at both", () -> Inbox.sorted(one, two).size() == 80);
		String s = "second holds 2, got some of 40: " + !two.all().isEmpty();
		two.close();
		one.queues(4);
		Consuming.fill(topic, "again", 40);
		Suite.until(60, "all", () -> Inbox.sorted(one, two).size() == 120);
		one.quiet(1500);
		one.close();
		int repeated = one.all().size() + two.all().size() - 120; // while queues changed hands
		Suite.check(repeated < 32, "repeated %d", repeated);
		return s + "; distinct " + Inbox.sorted(one, two).size();
	}

	private static String shares() throws Exception {
		String topic = Ask.topic("shares", 4);
		List<Inbox> members = new ArrayList<>();
		StringBuilder s = new StringBuilder();
		for (int n = 1; n <= 5; n++) {
			members.add(consumer("shares-g", topic, "*", m -> { }));
			Suite.until(60, "four queues held once each", () -> {
				int sum = 0;
				int most = 0;
				int least = 4;
				for (Inbox member : members) {
					sum += member.held();
					most = Math.max(most, member.held());
					least = Math.min(least, member.held());
				}
				return sum == 4 && least == 4 / members.size()
					&& most == (4 + members.size() - 1) / members.size();
			});
			List<Integer> held = new ArrayList<>();
			members.forEach(m -> held.add(m.held()));
			held.sort(null);
			s.append(held).append(' ');
		}
		members.forEach(Inbox::close);
		return s.toString();
	}

	// A second member joins and leaves while messages flow; no key goes backwards.
	private static String orderlyRebalance() throws Exception {
		String topic = Ask.topic("order-rebalance", 4);
		Inbox both = new Inbox(); // in the order in which either member finished
		Inbox one = member(topic, both);
		one.queues(4);
		Consuming.fillKeys(topic, 8, 0, 30);
		Inbox two = member(topic, both);
		Consuming.fillKeys(topic, 8, 30, 60);
		two.queues(2);
		one.queues(2);
		Consuming.fillKeys(topic, 8, 60, 90);
		Suite.until(90, "all", () -> Inbox.sorted(both).size() == 720);
		two.close();
		one.queues(4);
		Consuming.fillKeys(topic, 8, 90, 120);
		Suite.until(90, "all", () -> Inbox.sorted(both).size() == 960);
		one.close();
		int repeated = both.all().size() - 960;
		Inbox firsts = new Inbox();
		HashSet<String> seen = new HashSet<>();
		both.all().forEach(m -> {
			if (seen.add(Inbox.body(m)))
				firsts.add(m);
		});
		Suite.check(repeated < 200, "repeated %d", repeated);
		return Consuming.order(firsts) + ", of 960 lost 0";
	}

	private static Inbox member(String topic, Inbox both) throws Exception {
		Inbox inbox = Inbox.of("order-rebalance-g");
		inbox.consumer.subscribe(topic, "*");
		inbox.consumer.registerMessageListener((MessageListenerOrderly) (ms, context) -> {
			ms.forEach(both::add);
			return ConsumeOrderlyStatus.SUCCESS;
		});
		inbox.consumer.start();
		return inbox;
	}

	private static String twoGroups() throws Exception {
		String topic = Ask.topic("two-groups", 2);
		try (Inbox one = consumer("two-groups-1", topic, "*", m -> { });
			Inbox two = consumer("two-groups-2", topic, "*", m -> { })) {
			Consuming.fill(topic, "m", 30);
			one.await(30, 60).quiet(1000);
			two.await(30, 60).quiet(1000);
			return one.distinct() + " and " + two.distinct();
		}
	}

	private static String broadcast() throws Exception {
		String topic = Ask.topic("broadcast", 2);
		Inbox[] members = {Inbox.of("broadcast-g").broadcasting(),
			Inbox.of("broadcast-g").broadcasting()};
		for (Inbox member : members) {
			member.consumer.subscribe(topic, "*");
			listen(member, m -> {
				throw new IllegalStateException("not tried again when broadcast");
			});
			member.consumer.start();
			member.queues(2);
		}
		Consuming.fill(topic, "m", 30);
		StringBuilder s = new StringBuilder();
		for (Inbox member : members) {
			s.append(member.await(30, 60).quiet(2500).distinct()).append("; ");
			member.close();
		}
		return s.toString();
	}

	// The tool's reset reaches a consumer that is there: it gets all since then again.
	private static String reset() throws Exception {
		String topic = Ask.topic("reset-online", 2);
		Consuming.fill(topic, "old", 10);
		long since = System.currentTimeMillis() + 1;
		Suite.until(5, "a later moment", () -> System.currentTimeMillis() > since + 1);
		try (Inbox inbox = consumer("reset-online-g", topic, "*", m -> { });
			Wire wire = Wire.broker()) {
			Consuming.fill(topic, "new", 10);
			inbox.await(20, 60).quiet(6000);
			int code = wire.call(222, "topic", topic, "group", inbox.consumer.getConsumerGroup(),
				"timestamp", since, "isForce", true).code;
			inbox.await(30, 90).quiet(2000);
			return code + " old " + inbox.count(m -> Inbox.body(m).startsWith("old")) + " new "
				+ inbox.count(m -> Inbox.body(m).startsWith("new"));
		}
	}

	// What one member gives back, any member may get.
	private static String retryByOther() throws Exception {
		String topic = Ask.topic("by-other", 2);
		Inbox failing = consumer("by-other-g", topic, "*", m -> {
			throw new IllegalStateException("never");
		});
		Consuming.fill(topic, "m", 5);
		failing.await(5, 60);
		Inbox good = consumer("by-other-g", topic, "*", m -> { });
		failing.close();
		Suite.until(90, "all five", () -> Inbox.sorted(good).size() == 5);
		good.close();
		return "all got by the other";
	}

	private static String connections() throws Exception {
		String topic = Ask.topic("online", 1);
		try (Inbox inbox = consumer("online-g", topic, "a||b", m -> { });
			Wire wire = Wire.broker()) {
			inbox.queues(1);
			String group = inbox.consumer.getConsumerGroup();
			Wire.Answer a = wire.call(203, "consumerGroup", group);
			TreeSet<Object> topics = new TreeSet<>(
				((Map<?, ?>) a.at("subscriptionTable")).keySet());
			String s = a.code + " " + topics + " " + a.at("subscriptionTable", topic, "subString")
				+ " " + a.at("consumeType") + " " + a.at("messageModel") + " "
				+ a.at("consumeFromWhere") + " " + a.at("connectionSet", 0, "language");
			inbox.close();
			return s + " then " + wire.call(203, "consumerGroup", group).code;
		}
	}

	private static String runningInfo() throws Exception {
		String topic = Ask.topic("running", 1);
		try (Inbox inbox = consumer("running-g", topic, "*", m -> { });
			Wire wire = Wire.broker()) {
			inbox.queues(1);
			Wire.Answer a = wire.call(307, "consumerGroup", inbox.consumer.getConsumerGroup(),
				"clientId", inbox.consumer.buildMQClientId(), "jstackEnable", false);
			return a.code + " " + ((Map<?, ?>) a.json()).keySet() + " "
				+ a.at("properties", "PROP_CONSUME_TYPE");
		}
	}

	private static String directly() throws Exception {
		String topic = Ask.topic("directly", 1);
		try (Inbox inbox = consumer("directly-g", topic, "*", m -> { });
			Wire wire = Wire.broker()) {
			inbox.queues(1);
			DefaultMQProducer p = Sending.producer();
			SendResult sent = p.send(Sending.message(topic, "m"));
			p.shutdown();
			inbox.await(1, 60);
			Wire.Answer a = wire.call(309, "consumerGroup", inbox.consumer.getConsumerGroup(),
				"clientId", inbox.consumer.buildMQClientId(), "msgId",
				sent.getOffsetMsgId(), "brokerName", "broker-a", "topic", topic);
			return a.code + " " + a.at("consumeResult") + " given " + inbox.bodies();
		}
	}

	private static String status() throws Exception {
		String topic = Ask.topic("status", 1);
		try (Inbox inbox = consumer("status-g", topic, "*", m -> { });
			Wire wire = Wire.broker()) {
			Consuming.fill(topic, "m", 3);
			inbox.await(3, 60).quiet(500);
			Wire.Answer a = wire.call(223, "topic", topic, "group",
				inbox.consumer.getConsumerGroup());
			return a.code + " of " + ((Map<?, ?>) a.at("consumerTable")).size() + " member";
		}
	}

	// --- pop: the broker shares out the queues, messages are acknowledged one by one ----

	private static Inbox popping(String group, String topic, Handler handler) throws Exception {
		try (Wire wire = Wire.broker()) {
			String mode = "{\"topic\":\"%s\",\"consumerGroup\":\"%s\",\"mode\":\"POP\","
				+ "\"popShareQueueNum\":0}";
			Suite.same(0, wire.call(401, null, String.format(mode, topic,
				Suite.fresh(group))).code, "mode set");
		}
		Inbox inbox = Inbox.of(group);
		try {
			DefaultMQPushConsumer.class.getMethod("setClientRebalance", boolean.class)
				.invoke(inbox.consumer, false);
		} catch (NoSuchMethodException e) {
			throw new Suite.Skip("this client knows no pop");
		}
		inbox.consumer.subscribe(topic, "*");
		listen(inbox, handler);
		inbox.consumer.start();
		return inbox;
	}

	private static String pop() throws Exception {
		String topic = Ask.topic("pop-consume", 4);
		Consuming.fill(topic, "before", 20);
		try (Inbox inbox = popping("pop-consume-g", topic, m -> { })) {
			inbox.await(20, 90);
			Consuming.fill(topic, "m", 100);
			inbox.await(120, 90).quiet(2000);
			return inbox.distinct() + " by pop " + (inbox.held() == 0);
		}
	}

	private static String popAgain() throws Exception {
		String topic = Ask.topic("pop-retried", 1);
		try (Inbox inbox = popping("pop-retried-g", topic, m -> {
			if (m.getReconsumeTimes() == 0)
				throw new IllegalStateException("not now");
		})) {
			Consuming.fill(topic, "m", 1);
			inbox.await(2, 120);
			MessageExt m = inbox.all().get(1);
			return Inbox.body(m) + " again, reconsumed " + m.getReconsumeTimes() + " topic "
				+ m.getTopic();
		}
	}

	private static String popTwo() throws Exception {
		String topic = Ask.topic("pop-two", 4);
		try (Inbox one = popping("pop-two-g", topic, m -> { });
			Inbox two = popping("pop-two-g", topic, m -> { })) {
			Suite.until(60, "both are given some", () -> {
				Consuming.fill(topic, "m" + System.nanoTime() + "-", 8);
				return !one.all().isEmpty() && !two.all().isEmpty();
			});
			long sent = Inbox.read(topic, 4).all().size();
			Suite.until(90, "all", () -> Inbox.sorted(one, two).size() == sent);
			one.quiet(1500);
			return "none lost, repeated " + (one.all().size() + two.all().size() - sent);
		}
	}
}
