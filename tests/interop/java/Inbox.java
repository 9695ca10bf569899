// Inbox.java - what a Java consumer was given, in the order it came.

import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Inbox implements AutoCloseable {
	private static DefaultMQPullConsumer reader;

	private final List<MessageExt> got = new ArrayList<>();
	DefaultMQPushConsumer consumer;

	// A consumer not yet started; groups and instances are of this run and case.
	static Inbox of(String group) {
		Inbox inbox = new Inbox();
		DefaultMQPushConsumer c = new DefaultMQPushConsumer(Suite.fresh(group));
		c.setNamesrvAddr(Suite.namesrv);
		c.setInstanceName("c" + System.nanoTime());
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		inbox.consumer = c;
		return inbox;
	}

	// By name: the enumeration's package differs between the clients.
	Inbox broadcasting() throws Exception {
		for (Method m : consumer.getClass().getMethods())
			if (m.getName().equals("setMessageModel"))
				for (Object model : m.getParameterTypes()[0].getEnumConstants())
					if (model.toString().equals("BROADCASTING"))
						m.invoke(consumer, model);
		return this;
	}

	static String body(MessageExt m) {
		return new String(m.getBody(), StandardCharsets.UTF_8);
	}

	synchronized int add(MessageExt m) {
		got.add(m);
		notifyAll();
		return got.size();
	}

	synchronized List<MessageExt> all() {
		return new ArrayList<>(got);
	}

	List<String> bodies() {
		List<String> bodies = new ArrayList<>();
		all().forEach(m -> bodies.add(body(m)));
		return bodies;
	}

	long count(Predicate<MessageExt> which) {
		return all().stream().filter(which).count();
	}

	String distinct() {
		List<String> bodies = bodies();
		return "got " + bodies.size() + " distinct " + new HashSet<>(bodies).size();
	}

	synchronized Inbox await(int n, int seconds) throws InterruptedException {
		long end = System.nanoTime() + seconds * 1_000_000_000L;
		while (got.size() < n) {
			long ms = (end - System.nanoTime()) / 1_000_000;
			Suite.check(ms > 0, "got %d of %d in %d s", got.size(), n, seconds);
			wait(ms);
		}
		return this;
	}

	// Nothing more comes for that time.
	synchronized Inbox quiet(int ms) throws InterruptedException {
		int before;
		do {
			before = got.size();
			wait(ms);
		} while (got.size() != before);
		return this;
	}

	int held() {
		String retry = "%RETRY%";
		return (int) consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl()
			.getProcessQueueTable().keySet().stream()
			.filter(q -> !q.getTopic().startsWith(retry)).count();
	}

	Inbox queues(int n) throws Exception {
		Suite.until(60, "holds " + n + " queues", () -> held() == n);
		return this;
	}

	@Override
	public void close() {
		consumer.shutdown();
	}

	// --- all that is in a topic, whoever consumed it --------------------------------

	private static synchronized DefaultMQPullConsumer reader() throws Exception {
		if (reader == null) {
			reader = new DefaultMQPullConsumer("readers");
			reader.setNamesrvAddr(Suite.namesrv);
			reader.start();
		}
		return reader;
	}

	static int queues(String topic) throws Exception {
		return reader().fetchSubscribeMessageQueues(topic).size();
	}

	static Inbox read(String topic, int queues) throws Exception {
		Inbox inbox = new Inbox();
		for (int i = 0; i < queues; i++) {
			MessageQueue q = new MessageQueue(topic, "broker-a", i);
			long offset = 0;
			long end = reader().maxOffset(q);
			while (offset < end) {
				PullResult r = reader().pull(q, "*", offset, 32);
				if (r.getPullStatus() == PullStatus.FOUND)
					r.getMsgFoundList().forEach(inbox::add);
				offset = r.getNextBeginOffset();
			}
		}
		return inbox;
	}

	static Set<String> sorted(Inbox... inboxes) {
		Set<String> all = new TreeSet<>();
		for (Inbox one : inboxes)
			all.addAll(one.bodies());
		return all;
	}
}
