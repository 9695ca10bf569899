// Sending.java - a Java client as producer.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

final class Sending {
	private Sending() {
	}

	static void add() {
		Suite.add("send-sync", Sending::sync);
		Suite.add("send-async", Sending::async);
		Suite.add("send-oneway", Sending::oneway);
		Suite.add("send-batch", Sending::batch);
		Suite.add("send-batch-too-large", Sending::batchTooLarge);
		Suite.add("send-sizes", Sending::sizes);
		Suite.add("send-compressed", Sending::compressed);
		Suite.add("send-properties", Sending::properties);
		Suite.add("send-keys", Sending::keys);
		Suite.add("send-view-by-id", Sending::view);
		Suite.add("send-to-queue", Sending::toQueue);
		Suite.add("send-unknown-topic", Sending::unknown);
		Suite.add("send-refused", Sending::refused);
		Suite.add("send-queue-numbers", Sending::queueNumbers);
		Suite.add("send-offsets", Sending::offsets);
		Suite.add("send-delayed", () -> delayed("delay level 2", 1900, m -> m.setDelayTimeLevel(2)));
		Suite.add("send-timer", () -> delayed("in 1.5 s", 400, m -> {
			try {
				m.getClass().getMethod("setDelayTimeMs", long.class).invoke(m, 1500L);
			} catch (NoSuchMethodException e) {
				throw new Suite.Skip("this client has no timer messages");
			}
		}));
		Suite.add("transaction", Sending::transaction);
		Suite.add("transaction-asked", Sending::transactionAsked);
		Suite.add("request-reply", Sending::requestReply);
		Suite.add("request-unanswered", Sending::unanswered);
	}

	static Message message(String topic, String body) {
		return new Message(topic, body.getBytes(StandardCharsets.UTF_8));
	}

	static DefaultMQProducer producer() throws Exception {
		DefaultMQProducer p = new DefaultMQProducer("producers");
		p.setNamesrvAddr(Suite.namesrv);
		p.setSendMsgTimeout(20_000);
		p.setInstanceName("p" + System.nanoTime());
		p.start();
		return p;
	}

	// "code N" of a broker's refusal, or the class of the client's own error.
	static String error(Exception e) {
		if (e instanceof MQBrokerException)
			return "broker says " + ((MQBrokerException) e).getResponseCode();
		if (e instanceof MQClientException && ((MQClientException) e).getResponseCode() >= 0)
			return "client says " + ((MQClientException) e).getResponseCode();
		return e.getClass().getSimpleName();
	}

	interface Act {
		Object run() throws Exception;
	}

	static String tried(Act act) {
		try {
			return String.valueOf(act.run());
		} catch (Exception e) {
			return error(e);
		}
	}

	private static String sync() throws Exception {
		String topic = Ask.topic("sync", 4);
		DefaultMQProducer p = producer();
		TreeMap<Integer, List<Long>> got = new TreeMap<>();
		TreeSet<String> states = new TreeSet<>();
		for (int i = 0; i < 16; i++) {
			SendResult r = p.send(message(topic, "m" + i));
			states.add(r.getSendStatus().name());
			got.computeIfAbsent(r.getMessageQueue().getQueueId(), k -> new ArrayList<>())
				.add(r.getQueueOffset());
		}
		p.shutdown();
		return states + " " + got;
	}

	private static String async() throws Exception {
		String topic = Ask.topic("async", 4);
		DefaultMQProducer p = producer();
		int count = 1000;
		AtomicInteger good = new AtomicInteger();
		CountDownLatch done = new CountDownLatch(count);
		for (int i = 0; i < count; i++)
			p.send(message(topic, "m" + i), new SendCallback() {
				@Override
				public void onSuccess(SendResult result) {
					good.incrementAndGet();
					done.countDown();
				}

				@Override
				public void onException(Throwable e) {
					done.countDown();
				}
			});
		done.await(60, TimeUnit.SECONDS);
		p.shutdown();
		return good + " of " + count + " " + Inbox.read(topic, 4).distinct();
	}

	private static String oneway() throws Exception {
		String topic = Ask.topic("oneway", 2);
		DefaultMQProducer p = producer();
		for (int i = 0; i < 100; i++)
			p.sendOneway(message(topic, "m" + i));
		p.send(message(topic, "last")); // after the others on the same connection
		try (Wire wire = Wire.broker()) {
			Suite.until(20, "101 stored", () -> wire.call(30, "topic", topic, "queueId", 0)
				.number("offset") + wire.call(30, "topic", topic, "queueId", 1)
				.number("offset") == 101);
		}
		p.shutdown();
		return "all stored";
	}

	private static String batch() throws Exception {
		String topic = Ask.topic("batch", 1);
		DefaultMQProducer p = producer();
		StringBuilder s = new StringBuilder();
		for (int n : new int[] {1, 10, 100}) {
			List<Message> some = new ArrayList<>();
			for (int i = 0; i < n; i++)
				some.add(new Message(topic, "tag" + i % 2, "k" + i, ("b" + n + "-" + i)
					.getBytes(StandardCharsets.UTF_8)));
			SendResult r = p.send(some);
			s.append(r.getSendStatus()).append(" ids ")
				.append(r.getOffsetMsgId().split(",").length).append(" from ")
				.append(r.getQueueOffset()).append("; ");
		}
		p.shutdown();
		Inbox all = Inbox.read(topic, 1);
		return s + "" + all.distinct() + " tags " + all.count(m -> "tag1".equals(m.getTags()))
			+ " last " + all.bodies().get(110);
	}

	private static String batchTooLarge() throws Exception {
		String topic = Ask.topic("batch-large", 1);
		DefaultMQProducer p = producer();
		p.setMaxMessageSize(64 << 20);
		List<Message> some = new ArrayList<>();
		for (int i = 0; i < 5; i++)
			some.add(new Message(topic, new byte[1 << 20]));
		String s = tried(() -> p.send(some).getSendStatus());
		p.shutdown();
		return s;
	}

	private static String sizes() throws Exception {
		String topic = Ask.topic("sizes", 1);
		DefaultMQProducer p = producer();
		p.setMaxMessageSize(64 << 20);
		p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
		StringBuilder s = new StringBuilder();
		Random random = new Random(1);
		List<byte[]> sent = new ArrayList<>();
		for (int size : new int[] {1, 4096, 65536, 1 << 20, 4 << 20, (4 << 20) + 1}) {
			byte[] body = new byte[size];
			random.nextBytes(body);
			String state = tried(() -> p.send(new Message(topic, body)).getSendStatus());
			s.append(size).append(' ').append(state).append("; ");
			if (state.equals("SEND_OK"))
				sent.add(body);
		}
		p.shutdown();
		List<MessageExt> back = Inbox.read(topic, 1).all();
		for (int i = 0; i < sent.size(); i++)
			Suite.check(Arrays.equals(sent.get(i), back.get(i).getBody()), "body %d differs", i);
		return s + "" + back.size() + " read back the same";
	}

	private static String compressed() throws Exception {
		String topic = Ask.topic("compressed", 1);
		String text = "compressible text ".repeat(8192);
		DefaultMQProducer p = producer();
		p.send(message(topic, text));
		p.shutdown();
		MessageExt m = Inbox.read(topic, 1).all().get(0);
		Suite.check(new String(m.getBody(), StandardCharsets.UTF_8).equals(text), "body differs");
		return "read back the same, sysFlag " + Integer.toHexString(m.getSysFlag())
			+ " smaller in the store: " + (m.getStoreSize() < text.length() / 10);
	}

	private static String properties() throws Exception {
		String topic = Ask.topic("properties", 1);
		DefaultMQProducer p = producer();
		Message m = new Message(topic, "a tag", "key1 key2", 4711, new byte[] {1}, true);
		m.putUserProperty("own", "\u00e4\u20ac\ud83d\ude00 =:;");
		m.putUserProperty("other", "x");
		p.send(m);
		Message big = message(topic, "x");
		big.putUserProperty("big", "x".repeat(33_000));
		String refused = tried(() -> p.send(big).getSendStatus());
		p.shutdown();
		MessageExt got = Inbox.read(topic, 1).all().get(0);
		return got.getTags() + "|" + got.getKeys() + "|" + got.getFlag() + "|"
			+ got.getUserProperty("own") + "|" + got.getUserProperty("other") + "|"
			+ got.isWaitStoreMsgOK() + " too long: " + refused;
	}

	private static String keys() throws Exception {
		String topic = Ask.topic("keys", 4);
		DefaultMQProducer p = producer();
		String unique = null;
		for (int i = 0; i < 12; i++)
			unique = p.send(new Message(topic, "t", "all third" + i % 3, ("m" + i)
				.getBytes(StandardCharsets.UTF_8))).getMsgId();
		String last = unique;
		Suite.until(30, "twelve by key", () -> {
			try {
				return p.queryMessage(topic, "all", 32, 0, Long.MAX_VALUE).getMessageList()
					.size() == 12;
			} catch (MQClientException e) {
				return false; // none yet
			}
		});
		String s = "all 12 third1 " + p.queryMessage(topic, "third1", 32, 0, Long.MAX_VALUE)
			.getMessageList().size() + " none " + tried(() -> p.queryMessage(topic, "none", 32,
			0, Long.MAX_VALUE).getMessageList().size());
		s += " by unique id " + new String(p.viewMessage(topic, last).getBody(),
			StandardCharsets.UTF_8);
		p.shutdown();
		return s;
	}

	private static String view() throws Exception {
		String topic = Ask.topic("view", 1);
		DefaultMQProducer p = producer();
		SendResult r = p.send(message(topic, "look"));
		MessageExt m = p.viewMessage(topic, r.getOffsetMsgId());
		String s = new String(m.getBody(), StandardCharsets.UTF_8) + " same id "
			+ m.getMsgId().equals(r.getMsgId()) + " at " + m.getQueueOffset() + " store host "
			+ m.getStoreHost().toString().replaceAll(".*/", "");
		p.shutdown();
		return s;
	}

	private static String toQueue() throws Exception {
		String topic = Ask.topic("to-queue", 4);
		DefaultMQProducer p = producer();
		StringBuilder s = new StringBuilder();
		for (int i = 0; i < 8; i++)
			s.append(p.send(message(topic, "m"), (all, m, arg) -> all.get((int) arg % all.size()),
				i).getQueueOffset()).append(' ');
		for (int q : new int[] {3, 4, 99})
			s.append("queue ").append(q).append(' ').append(tried(() -> p.send(
				message(topic, "m"), new MessageQueue(topic, "broker-a", q))
				.getQueueOffset())).append(' ');
		p.shutdown();
		return s.toString();
	}

	private static String unknown() throws Exception {
		DefaultMQProducer p = producer();
		String topic = Suite.fresh("made-by-sending");
		String s = p.send(message(topic, "first")).getSendStatus() + "";
		Ask.routed(topic);
		s += " queues " + p.fetchPublishMessageQueues(topic).size();
		p.shutdown();
		return s + " read back " + Inbox.read(topic, 4).bodies();
	}

	private static String refused() throws Exception {
		DefaultMQProducer p = producer();
		String readOnly = Ask.topic("refused-4", 2, 2, 4);
		String none = Ask.topic("refused-0", 2, 2, 0);
		String s = "read only " + tried(() -> p.send(message(readOnly, "x")).getSendStatus())
			+ " to its queue " + tried(() -> p.send(message(readOnly, "x"),
			new MessageQueue(readOnly, "broker-a", 0)).getSendStatus())
			+ " no permission at all " + tried(() -> p.send(message(none, "x")).getSendStatus())
			+ " illegal name " + tried(() -> p.send(message("a.b", "x")).getSendStatus())
			+ " system topic " + tried(() -> p.send(message("SCHEDULE_TOPIC_XXXX", "x"))
			.getSendStatus()) + " no body " + tried(() -> p.send(message(readOnly, ""))
			.getSendStatus());
		p.shutdown();
		return s;
	}

	private static String queueNumbers() throws Exception {
		String topic = Ask.topic("queue-numbers", 6, 2, 6);
		DefaultMQProducer p = producer();
		TreeSet<Integer> used = new TreeSet<>();
		for (int i = 0; i < 12; i++)
			used.add(p.send(message(topic, "x")).getMessageQueue().getQueueId());
		String s = "written " + used + " publish " + p.fetchPublishMessageQueues(topic).size();
		p.shutdown();
		return s + " read " + Inbox.queues(topic);
	}

	private static String offsets() throws Exception {
		String topic = Ask.topic("offsets", 1);
		DefaultMQProducer p = producer();
		MessageQueue q = new MessageQueue(topic, "broker-a", 0);
		String s = "empty " + p.minOffset(q) + ".." + p.maxOffset(q);
		for (int i = 0; i < 5; i++)
			p.send(message(topic, "x"));
		Inbox.read(topic, 1); // the last is readable
		s += " then " + p.minOffset(q) + ".." + p.maxOffset(q) + " searched " + p.searchOffset(q, 0)
			+ " " + p.searchOffset(q, System.currentTimeMillis() + 10_000) + " earliest known "
			+ (p.earliestMsgStoreTime(q) > 0);
		p.shutdown();
		return s;
	}

	interface Change {
		void apply(Message m) throws Exception;
	}

	private static String delayed(String what, long leastMs, Change change) throws Exception {
		String topic = Ask.topic("delayed-" + leastMs, 1);
		Message late = message(topic, "late");
		change.apply(late);
		DefaultMQProducer p = producer();
		long start = System.nanoTime();
		p.send(late);
		p.send(message(topic, "prompt"));
		Suite.until(30, "both", () -> Inbox.read(topic, 1).all().size() == 2);
		long ms = (System.nanoTime() - start) / 1_000_000;
		p.shutdown();
		Suite.check(ms >= leastMs, "came after %d ms", ms);
		return what + ": not early, after " + Inbox.read(topic, 1).bodies().get(0);
	}

	private static TransactionMQProducer transactional(String name, TransactionListener listener)
		throws Exception {
		TransactionMQProducer p = new TransactionMQProducer(Suite.fresh(name));
		p.setNamesrvAddr(Suite.namesrv);
		p.setInstanceName("t" + System.nanoTime());
		p.setTransactionListener(listener);
		p.start();
		return p;
	}

	private static String transaction() throws Exception {
		String topic = Ask.topic("transaction", 1);
		TransactionMQProducer p = transactional("transaction-g", new TransactionListener() {
			@Override
			public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
				return (boolean) arg ? LocalTransactionState.COMMIT_MESSAGE
						     : LocalTransactionState.ROLLBACK_MESSAGE;
			}

			@Override
			public LocalTransactionState checkLocalTransaction(MessageExt m) {
				return LocalTransactionState.UNKNOW;
			}
		});
		StringBuilder s = new StringBuilder();
		for (int i = 0; i < 6; i++)
			s.append(p.sendMessageInTransaction(message(topic, "m" + i), i % 2 == 0)
				.getLocalTransactionState()).append(' ');
		Suite.until(20, "three committed", () -> Inbox.read(topic, 1).all().size() == 3);
		p.shutdown();
		return s + "seen " + Inbox.read(topic, 1).bodies();
	}

	// The producer says nothing; the broker asks, and is told on the second time.
	private static String transactionAsked() throws Exception {
		String topic = Ask.topic("asked", 1);
		AtomicInteger asked = new AtomicInteger();
		TransactionMQProducer p = transactional("asked-g", new TransactionListener() {
			@Override
			public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
				return LocalTransactionState.UNKNOW;
			}

			@Override
			public LocalTransactionState checkLocalTransaction(MessageExt m) {
				return asked.incrementAndGet() == 1 ? LocalTransactionState.UNKNOW
								    : LocalTransactionState.COMMIT_MESSAGE;
			}
		});
		p.sendMessageInTransaction(message(topic, "unsure"), null);
		Suite.until(100, "committed", () -> Inbox.read(topic, 1).all().size() == 1);
		p.shutdown();
		return "asked " + asked + " times, then seen " + Inbox.read(topic, 1).bodies();
	}

	private static String requestReply() throws Exception {
		String topic = Ask.topic("request", 1);
		DefaultMQProducer replier = producer();
		Inbox inbox = Groups.consumer("request-g", topic, "*", m -> replier.send(
			MessageUtil.createReplyMessage(m, ("answer to " + new String(m.getBody(),
			StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8))));
		inbox.queues(1);
		DefaultMQProducer p = producer();
		StringBuilder s = new StringBuilder();
		for (int i = 0; i < 3; i++)
			s.append(asked(p, message(topic, "q" + i), 30_000)).append("; ");
		p.shutdown();
		inbox.close();
		replier.shutdown();
		return s.toString();
	}

	// By callback: in 5.3.3 the request that waits returns when it was sent.
	private static String asked(DefaultMQProducer p, Message m, long ms) throws Exception {
		CompletableFuture<String> answer = new CompletableFuture<>();
		p.request(m, new RequestCallback() {
			@Override
			public void onSuccess(Message reply) {
				answer.complete(new String(reply.getBody(), StandardCharsets.UTF_8));
			}

			@Override
			public void onException(Throwable e) {
				answer.completeExceptionally(e);
			}
		}, ms);
		return answer.get(60, TimeUnit.SECONDS);
	}

	private static String unanswered() throws Exception {
		String topic = Ask.topic("unanswered", 1);
		DefaultMQProducer p = producer();
		String s;
		try {
			s = asked(p, message(topic, "q"), 2000);
		} catch (ExecutionException e) {
			s = e.getCause().getClass().getSimpleName();
		}
		p.shutdown();
		return s;
	}
}
