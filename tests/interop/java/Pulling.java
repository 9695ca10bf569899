// Pulling.java - the Java clients that ask themselves: pull and lite pull.

import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Pulling {
	private Pulling() {
	}

	static void add() {
		Suite.add("pull-states", Pulling::states);
		Suite.add("pull-refused", Pulling::refused);
		Suite.add("pull-waiting", Pulling::waiting);
		Suite.add("pull-offsets", Pulling::offsets);
		Suite.add("lite-subscribe", Pulling::subscribe);
		Suite.add("lite-assign", Pulling::assign);
		Suite.add("lite-seek", Pulling::seek);
		Suite.add("lite-commit", Pulling::commit);
		Suite.add("lite-tags", Pulling::tags);
		Suite.add("lite-two-members", Pulling::two);
	}

	private static MessageQueue queue(String topic, int id) {
		return new MessageQueue(topic, "broker-a", id);
	}

	private static DefaultMQPullConsumer puller(String group) throws Exception {
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(Suite.fresh(group));
		c.setNamesrvAddr(Suite.namesrv);
		c.setInstanceName("l" + System.nanoTime());
		c.start();
		return c;
	}

	private static String say(PullResult r) {
		return r.getPullStatus() + " next " + r.getNextBeginOffset() + " of " + r.getMinOffset()
			+ ".." + r.getMaxOffset() + " n=" + (r.getMsgFoundList() == null ? 0
			: r.getMsgFoundList().size()) + "; ";
	}

	private static String states() throws Exception {
		String topic = Ask.topic("states", 1);
		MessageQueue q = queue(topic, 0);
		DefaultMQProducer p = Sending.producer();
		for (int i = 0; i < 40; i++)
			p.send(new Message(topic, "a", ("m" + i).getBytes()));
		p.shutdown();
		Inbox.read(topic, 1);
		DefaultMQPullConsumer c = puller("states-g");
		String s = say(c.pull(q, "*", 0, 32)) + say(c.pull(q, "*", 32, 5)) + say(c.pull(q, "b", 0, 32))
			+ say(c.pull(q, "*", 40, 32)) + say(c.pull(q, "*", 99, 32));
		c.shutdown();
		return s;
	}

	private static String refused() throws Exception {
		String writeOnly = Ask.topic("write-only", 1, 1, 2);
		String topic = Ask.topic("pull-refused", 1);
		DefaultMQPullConsumer c = puller("pull-refused-g");
		String s = "write only " + Sending.tried(() -> c.pull(queue(writeOnly, 0), "*", 0, 1))
			+ " no such queue " + Sending.tried(() -> c.pull(queue(topic, 5), "*", 0, 1))
			+ " no such topic " + Sending.tried(() -> c.fetchSubscribeMessageQueues(
			Suite.fresh("none")).size());
		c.shutdown();
		return s;
	}

	private static String waiting() throws Exception {
		String topic = Ask.topic("waiting", 1);
		DefaultMQPullConsumer c = puller("waiting-g");
		Thread sender = new Thread(() -> Sending.tried(() -> {
			Consuming.fill(topic, "awaited", 1);
			return null;
		}));
		sender.start();
		PullResult r = c.pullBlockIfNotFound(queue(topic, 0), "*", 0, 32);
		sender.join();
		c.shutdown();
		return say(r);
	}

	private static String offsets() throws Exception {
		String topic = Ask.topic("pull-offsets", 1);
		MessageQueue q = queue(topic, 0);
		Consuming.fill(topic, "m", 5);
		DefaultMQPullConsumer c = puller("pull-offsets-g");
		StringBuilder s = new StringBuilder("at first " + c.fetchConsumeOffset(q, true));
		DefaultMQPullConsumer same = c;
		Suite.until(20, "stored", () -> { // refused until the broker knows the group
			same.updateConsumeOffset(q, 3);
			same.getDefaultMQPullConsumerImpl().getOffsetStore().persist(q);
			return same.fetchConsumeOffset(q, true) == 3;
		});
		c.shutdown();
		c = puller("pull-offsets-g");
		s.append(" stored 3, another sees ").append(c.fetchConsumeOffset(q, true));
		c.shutdown();
		return s.toString();
	}

	private static DefaultLitePullConsumer lite(String group, boolean autoCommit) {
		DefaultLitePullConsumer c = new DefaultLitePullConsumer(Suite.fresh(group));
		c.setNamesrvAddr(Suite.namesrv);
		c.setInstanceName("l" + System.nanoTime());
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setAutoCommit(autoCommit);
		return c;
	}

	private static List<String> poll(DefaultLitePullConsumer c, int n) throws Exception {
		List<String> got = new ArrayList<>();
		Suite.until(60, n + " polled", () -> {
			for (MessageExt m : c.poll(500))
				got.add(Inbox.body(m));
			return got.size() >= n;
		});
		return got;
	}

	private static String subscribe() throws Exception {
		String topic = Ask.topic("lite-subscribe", 4);
		Consuming.fill(topic, "m", 50);
		DefaultLitePullConsumer c = lite("lite-subscribe-g", true);
		c.subscribe(topic, "*");
		c.start();
		List<String> got = poll(c, 50);
		int more = c.poll(1500).size();
		c.shutdown();
		return got.size() + " distinct " + new TreeSet<>(got).size() + " more " + more;
	}

	private static String assign() throws Exception {
		String topic = Ask.topic("lite-assign", 2);
		Consuming.fill(topic, "m", 20);
		DefaultLitePullConsumer c = lite("lite-assign-g", false);
		c.start();
		c.assign(List.of(queue(topic, 1)));
		List<String> got = poll(c, 10);
		int more = c.poll(1500).size();
		String s = got.size() + " of one queue, more " + more + " queues known "
			+ c.fetchMessageQueues(topic).size();
		c.shutdown();
		return s;
	}

	private static String seek() throws Exception {
		String topic = Ask.topic("lite-seek", 1);
		MessageQueue q = queue(topic, 0);
		Consuming.fill(topic, "m", 10);
		Inbox.read(topic, 1);
		long time = System.currentTimeMillis() + 1;
		Suite.until(5, "a later moment", () -> System.currentTimeMillis() > time + 1);
		Consuming.fill(topic, "later", 1);
		DefaultLitePullConsumer c = lite("lite-seek-g", false);
		c.start();
		c.assign(List.of(q));
		StringBuilder s = new StringBuilder(poll(c, 11).get(0));
		c.seek(q, 7);
		s.append(" seek 7 ").append(poll(c, 4));
		c.seekToBegin(q);
		s.append(" begin ").append(poll(c, 11).get(0));
		c.seekToEnd(q);
		s.append(" end ").append(c.poll(1500).size());
		Suite.until(20, "readable", () -> c.offsetForTimestamp(q, time) == 10);
		c.seek(q, c.offsetForTimestamp(q, time));
		s.append(" by time ").append(poll(c, 1));
		s.append(" beyond ").append(Sending.tried(() -> {
			c.seek(q, 99);
			return "accepted";
		}));
		c.shutdown();
		return s.toString();
	}

	private static String commit() throws Exception {
		String topic = Ask.topic("lite-commit", 1);
		MessageQueue q = queue(topic, 0);
		Consuming.fill(topic, "m", 10);
		StringBuilder s = new StringBuilder();
		for (int round = 0; round < 2; round++) {
			DefaultLitePullConsumer c = lite("lite-commit-g", false);
			c.setPullBatchSize(4);
			c.start();
			c.assign(List.of(q));
			s.append("committed ").append(Sending.tried(() -> c.committed(q))).append(' ');
			if (round == 0) {
				poll(c, 4);
				c.commitSync();
				Suite.until(20, "committed", () -> c.committed(q) >= 4);
			}
			c.shutdown();
		}
		return s.toString();
	}

	private static String tags() throws Exception {
		String topic = Ask.topic("lite-tags", 1);
		DefaultMQProducer p = Sending.producer();
		for (String tag : List.of("a", "b", "c", "a"))
			p.send(new Message(topic, tag, tag.getBytes()));
		p.shutdown();
		DefaultLitePullConsumer c = lite("lite-tags-g", true);
		c.subscribe(topic, "a||c");
		c.start();
		List<String> got = poll(c, 3);
		c.shutdown();
		return got.toString();
	}

	private static String two() throws Exception {
		String topic = Ask.topic("lite-two", 4);
		DefaultLitePullConsumer one = lite("lite-two-g", true);
		DefaultLitePullConsumer two = lite("lite-two-g", true);
		for (DefaultLitePullConsumer c : List.of(one, two)) {
			c.subscribe(topic, "*");
			c.start();
		}
		Suite.until(60, "two queues each", () -> one.assignment().size() == 2
			&& two.assignment().size() == 2);
		Consuming.fill(topic, "m", 40);
		TreeSet<String> got = new TreeSet<>(poll(one, 20));
		got.addAll(poll(two, 20));
		one.shutdown();
		two.shutdown();
		return "two queues each, distinct " + got.size();
	}
}
