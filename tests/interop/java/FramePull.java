// FramePull.java - what a broker answers to the requests of consumers, exactly:
// membership, offsets, pull with each of its results, order locks, pop.

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

final class FramePull {
	private FramePull() {
	}

	static void add() {
		Suite.add("heartbeat", FramePull::heartbeat);
		Suite.add("heartbeat-broken", () -> {
			try (Wire wire = Wire.broker()) {
				return "no body " + wire.call(34).code + " not JSON "
					+ wire.call(34, null, "{{{").code + " empty "
					+ wire.call(34, null, "{\"clientID\":\"c\"}").code;
			}
		});
		Suite.add("heartbeat-other-clients", FramePull::otherClients);
		Suite.add("members", FramePull::members);
		Suite.add("members-told", FramePull::told);
		Suite.add("offset-none-stored", FramePull::noneStored);
		Suite.add("offset-commit", FramePull::commit);
		Suite.add("offset-min-max", FramePull::minMax);
		Suite.add("offset-by-time", FramePull::byTime);
		Suite.add("pull-found", FramePull::found);
		Suite.add("pull-not-found", () -> results("19"));
		Suite.add("pull-none-match", () -> results("20"));
		Suite.add("pull-offset-moved", () -> results("21"));
		Suite.add("pull-refused", FramePull::refused);
		Suite.add("pull-filter", FramePull::filter);
		Suite.add("pull-commits", FramePull::pullCommits);
		Suite.add("pull-held", FramePull::held);
		Suite.add("pull-woken", FramePull::woken);
		Suite.add("lock", FramePull::lock);
		Suite.add("pop", FramePull::pop);
		Suite.add("pop-again", FramePull::popAgain);
		Suite.add("pop-change-time", FramePull::popChange);
		Suite.add("pop-batch-ack", FramePull::popBatch);
		Suite.add("pop-empty", FramePull::popEmpty);
		Suite.add("assignment", FramePull::assignment);
	}

	private static String filled(String name, int messages, String... properties)
		throws Exception {
		String topic = Ask.topic(name, 1);
		try (Wire wire = Wire.broker()) {
			for (int i = 0; i < messages; i++)
				Suite.same(0, Ask.send(wire, topic, 0, "m" + i, properties).code, "sent");
			if (messages > 0) // until the last can be read
				Suite.until(20, "all readable", () -> Ask.pull(wire, "frames", topic, 0,
					messages - 1, "*").code == 0);
		}
		return topic;
	}

	private static String heartbeat() throws Exception {
		String topic = Ask.topic("beat", 1);
		String group = Suite.fresh("beat-g");
		try (Wire wire = Wire.broker(); Wire ns = Wire.namesrv()) {
			Wire.Answer a = Ask.heartbeat(wire, "c1", group, topic, "*");
			String retry = "%RETRY%" + group;
			Wire.Answer config = wire.call(351, "topic", retry);
			Suite.until(40, "route", () -> ns.call(105, "topic", retry).code == 0);
			return a.code + " " + a.ext + " retry topic perm " + config.at("perm")
				+ " queues " + config.at("readQueueNums") + " group "
				+ wire.call(352, "group", group).code;
		}
	}

	// As clients in other languages write it: numbers for names, things left out.
	private static String otherClients() throws Exception {
		String group = Suite.fresh("cpp");
		try (Wire wire = Wire.broker()) {
			int cpp = wire.call(34, null, "{\"clientID\":\"cpp\",\"consumerDataSet\":["
				+ "{\"consumeFromWhere\":4,\"consumeType\":1,\"groupName\":\"" + group
				+ "\",\"messageModel\":1,\"subscriptionDataSet\":[{\"subString\":\"*\","
				+ "\"subVersion\":\"1\",\"topic\":\"TBW102\"}]}]}\n").code;
			Wire.Answer a = wire.call(203, "consumerGroup", group);
			return cpp + " " + a.at("messageModel") + " " + a.at("consumeType") + " "
				+ a.at("consumeFromWhere") + " " + a.at("subscriptionTable", "TBW102",
				"expressionType");
		}
	}

	private static String members() throws Exception {
		String topic = Ask.topic("members", 1);
		String group = Suite.fresh("members-g");
		StringBuilder s = new StringBuilder();
		try (Wire one = Wire.broker()) {
			s.append("none ").append(one.call(38, "consumerGroup", group).say());
			Ask.heartbeat(one, "c1", group, topic, "*");
			Wire two = Wire.broker();
			Ask.heartbeat(two, "c2", group, topic, "*");
			List<Object> list = new ArrayList<>((List<?>) one.call(38, "consumerGroup", group)
				.at("consumerIdList"));
			list.sort(null);
			s.append(" two ").append(list);
			two.close();
			Suite.until(20, "the closed one gone", () -> one.call(38, "consumerGroup", group)
				.at("consumerIdList").toString().equals("[c1]"));
			s.append(" one closed [c1] unregistered ").append(one.call(35, "clientID", "c1",
				"producerGroup", "", "consumerGroup", group).say());
			s.append(" then ").append(one.call(38, "consumerGroup", group).say());
			s.append(" 203 then ").append(one.call(203, "consumerGroup", group).say());
		}
		return s.toString();
	}

	private static String told() throws Exception {
		String topic = Ask.topic("told", 1);
		String group = Suite.fresh("told-g");
		try (Wire one = Wire.broker(); Wire two = Wire.broker()) {
			Ask.heartbeat(one, "c1", group, topic, "*");
			one.call(9999); // what the first heartbeat itself caused is past
			Ask.heartbeat(two, "c2", group, topic, "*");
			Wire.Answer notice = one.read();
			while (notice.code != 40)
				notice = one.read();
			return notice.say("consumerGroup") + " flag " + notice.flag + " type "
				+ notice.type;
		}
	}

	private static String noneStored() throws Exception {
		String topic = filled("none-stored", 3);
		String group = Suite.fresh("none-stored-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Object[] ask = {"consumerGroup", group, "topic", topic, "queueId", 0,
				"setZeroIfNotFound", true};
			String s = "plain " + wire.call(14, ask).say("offset");
			ask[7] = false;
			s += " not zero " + wire.call(14, ask).say("offset");
			ask[3] = Suite.fresh("no-such-topic");
			s += " no topic " + wire.call(14, ask).say("offset");
			ask[1] = Suite.fresh("no-such-group");
			return s + " no group " + wire.call(14, ask).say("offset");
		}
	}

	private static String commit() throws Exception {
		String topic = filled("commit", 3);
		String group = Suite.fresh("commit-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			StringBuilder s = new StringBuilder();
			for (long offset : new long[] {2, 1, 3, 100, 0}) {
				s.append(Ask.commit(wire, group, topic, 0, offset).code).append(' ');
				s.append(Ask.committed(wire, group, topic, 0).say("offset")).append("; ");
			}
			s.append("queue 7 ").append(Ask.commit(wire, group, topic, 7, 1).code);
			s.append(" no topic ").append(Ask.commit(wire, group, Suite.fresh("no-such-topic"),
				0, 1).code);
			s.append(" no group ").append(Ask.commit(wire, Suite.fresh("no-such-group"), topic,
				0, 1).code);
			return s.toString();
		}
	}

	private static String minMax() throws Exception {
		String topic = filled("min-max", 5);
		try (Wire wire = Wire.broker()) {
			StringBuilder s = new StringBuilder();
			for (int code : new int[] {30, 31, 32})
				s.append(code).append(' ').append(wire.call(code, "topic", topic, "queueId",
					0).keys()).append(' ');
			s.append("max ").append(wire.call(30, "topic", topic, "queueId", 0).say("offset"));
			s.append(" min ").append(wire.call(31, "topic", topic, "queueId", 0).say("offset"));
			for (int code : new int[] {30, 31})
				s.append(" no queue ").append(wire.call(code, "topic", topic, "queueId", 9)
					.say("offset")).append(" no topic ").append(wire.call(code, "topic",
					Suite.fresh("no-such-topic"), "queueId", 0).say("offset"));
			return s + " earliest of nothing " + wire.call(32, "topic",
				Ask.topic("min-max-empty", 1), "queueId", 0).say("timestamp");
		}
	}

	private static String byTime() throws Exception {
		String topic = filled("by-time", 4);
		long between;
		try (Wire wire = Wire.broker()) {
			long last = Long.parseLong(wire.call(32, "topic", topic, "queueId", 0)
				.ext.get("timestamp"));
			Suite.until(10, "a later moment", () -> System.currentTimeMillis() > last + 1000);
			between = System.currentTimeMillis();
			Suite.until(10, "a later moment", () -> System.currentTimeMillis() > between + 20);
			for (int i = 4; i < 6; i++)
				Ask.send(wire, topic, 0, "m" + i);
			Suite.until(20, "readable", () -> Ask.pull(wire, "frames", topic, 0, 5, "*").code == 0);
			StringBuilder s = new StringBuilder();
			for (String bound : List.of("LOWER", "UPPER"))
				for (long time : new long[] {0, between, Long.MAX_VALUE / 2})
					s.append(bound).append(time == between ? " between " : time == 0 ? " past "
						: " future ").append(wire.call(29, "topic", topic, "queueId", 0,
						"timestamp", time, "boundaryType", bound).say("offset")).append("; ");
			s.append("unsaid ").append(wire.call(29, "topic", topic, "queueId", 0, "timestamp",
				between).say("offset"));
			s.append(" empty ").append(wire.call(29, "topic", Ask.topic("by-time-empty", 1),
				"queueId", 0, "timestamp", between).say("offset"));
			return s.toString();
		}
	}

	private static final String[] PULLED = {"nextBeginOffset", "minOffset", "maxOffset",
		"suggestWhichBrokerId"};

	private static String found() throws Exception {
		String topic = filled("found", 40);
		try (Wire wire = Wire.broker()) {
			Wire.Answer a = Ask.pull(wire, "frames", topic, 0, 0, "*");
			List<Wire.Stored> some = Wire.messages(a.body);
			Map<String, String> ext = Ask.pullExt("frames", topic, 0, 10);
			ext.putAll(Map.of("sysFlag", "4", "subscription", "*", "maxMsgNums", "3"));
			Wire.Answer lite = wire.call(361, ext, "");
			ext.put("maxMsgNums", "1000");
			return a.keys() + " " + a.say(PULLED) + " " + some.size() + " from "
				+ some.get(0).body + " three by 361 " + lite.say("nextBeginOffset")
				+ " of a thousand asked " + Wire.messages(wire.call(11, ext, "").body).size();
		}
	}

	private static String results(String of) throws Exception {
		String topic = filled("results-" + of, 3, "TAGS", "a");
		String empty = Ask.topic("results-empty-" + of, 1);
		try (Wire wire = Wire.broker()) {
			switch (of) {
			case "19":
				return "at the end " + Ask.pull(wire, "frames", topic, 0, 3, "*").say(PULLED)
					+ " empty at 0 " + Ask.pull(wire, "frames", empty, 0, 0, "*").say(PULLED);
			case "20":
				return Ask.pull(wire, "frames", topic, 0, 1, "b").say(PULLED);
			default:
				return "above " + Ask.pull(wire, "frames", topic, 0, 99, "*").say(PULLED)
					+ " below " + Ask.pull(wire, "frames", topic, 0, -5, "*").say(PULLED)
					+ " empty at 7 " + Ask.pull(wire, "frames", empty, 0, 7, "*").say(PULLED);
			}
		}
	}

	private static String refused() throws Exception {
		String topic = filled("refused", 1);
		String group = Suite.fresh("refused-g");
		try (Wire wire = Wire.broker()) {
			StringBuilder s = new StringBuilder();
			s.append("no heartbeat ").append(wire.call(11, Ask.pullExt(Suite.fresh("never-seen"),
				topic, 0, 0), "").code);
			Ask.heartbeat(wire, "c1", group, topic, "*");
			s.append(" after it ").append(wire.call(11, Ask.pullExt(group, topic, 0, 0), "").code);
			String unsubscribed = Ask.topic("refused-2", 1);
			s.append(" topic not subscribed ").append(wire.call(11,
				Ask.pullExt(group, unsubscribed, 0, 0), "").code);
			Map<String, String> newer = Ask.pullExt(group, topic, 0, 0);
			newer.put("subVersion", String.valueOf(Long.MAX_VALUE));
			s.append(" newer subscription ").append(wire.call(11, newer, "").code);
			s.append(" queue ").append(Ask.pull(wire, group, topic, 1, 0, "*").code);
			s.append(" topic ").append(Ask.pull(wire, group, Suite.fresh("none"), 0, 0, "*").code);
			Map<String, String> sql = Ask.pullExt(group, topic, 0, 0);
			sql.putAll(Map.of("sysFlag", "4", "subscription", "a >", "expressionType", "SQL92"));
			s.append(" broken SQL ").append(wire.call(11, sql, "").code);
			String writeOnly = Ask.topic("refused-w", 1, 1, 2);
			s.append(" write only ").append(Ask.pull(wire, group, writeOnly, 0, 0, "*").code);
			return s.toString();
		}
	}

	private static String filter() throws Exception {
		String topic = Ask.topic("filter", 1);
		try (Wire wire = Wire.broker()) {
			// "Aa" and "BB" have the same hash: the broker compares only these.
			for (String tag : List.of("a", "b", "Aa", "BB", "c"))
				Ask.send(wire, topic, 0, tag, "TAGS", tag);
			Ask.send(wire, topic, 0, "none");
			Suite.until(20, "readable", () -> Ask.pull(wire, "frames", topic, 0, 5, "*").code == 0);
			StringBuilder s = new StringBuilder();
			for (String tags : List.of("*", "a", "a||c", " a || b ", "Aa", "")) {
				s.append('"').append(tags).append("\":");
				for (Wire.Stored m : Wire.messages(Ask.pull(wire, "frames", topic, 0, 0, tags)
					.body))
					s.append(' ').append(m.body);
				s.append("; ");
			}
			return s.toString();
		}
	}

	private static String pullCommits() throws Exception {
		String topic = filled("pull-commits", 5);
		String group = Suite.fresh("pull-commits-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Map<String, String> ext = Ask.pullExt(group, topic, 0, 4);
			ext.putAll(Map.of("sysFlag", "1", "commitOffset", "4"));
			int with = wire.call(11, ext, "").code;
			String stored = Ask.committed(wire, group, topic, 0).say("offset");
			ext.putAll(Map.of("sysFlag", "0", "commitOffset", "2"));
			wire.call(11, ext, "");
			return with + " " + stored + " without the flag "
				+ Ask.committed(wire, group, topic, 0).say("offset");
		}
	}

	private static String hold(Wire wire, String topic, int ms) throws IOException {
		Map<String, String> ext = Ask.pullExt("frames", topic, 0, 0);
		ext.putAll(Map.of("sysFlag", "6", "subscription", "*", "suspendTimeoutMillis",
			String.valueOf(ms)));
		return wire.header(11, 0, 4711, ext);
	}

	private static String held() throws Exception {
		String topic = Ask.topic("held", 1);
		try (Wire wire = Wire.broker()) {
			long start = System.nanoTime();
			wire.send(0, hold(wire, topic, 1500), new byte[0]);
			Wire.Answer a = wire.read();
			long ms = (System.nanoTime() - start) / 1_000_000;
			Suite.check(ms >= 1400, "answered after %d ms", ms);
			return a.say(PULLED) + " not before the time asked";
		}
	}

	private static String woken() throws Exception {
		String topic = Ask.topic("woken", 1);
		try (Wire wire = Wire.broker(); Wire other = Wire.broker()) {
			wire.send(0, hold(wire, topic, 15000), new byte[0]);
			wire.call(9999); // answers may overtake: the pull is held by now
			long start = System.nanoTime();
			Ask.send(other, topic, 0, "wake up");
			Wire.Answer a = wire.read();
			long ms = (System.nanoTime() - start) / 1_000_000;
			Suite.check(ms < 5000, "woken after %d ms", ms);
			return a.say(PULLED) + " " + Wire.messages(a.body).get(0).body;
		}
	}

	private static String lock() throws Exception {
		String topic = Ask.topic("lock", 2);
		String group = Suite.fresh("lock-g");
		String body = "{\"clientId\":\"%s\",\"consumerGroup\":\"" + group + "\",\"mqSet\":["
			+ "{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"" + topic + "\"},"
			+ "{\"brokerName\":\"broker-a\",\"queueId\":%d,\"topic\":\"" + topic + "\"}]}";
		try (Wire wire = Wire.broker()) {
			StringBuilder s = new StringBuilder();
			for (String who : List.of("c1", "c2", "c1"))
				s.append(who).append(' ').append(locked(wire.call(41, null,
					String.format(body, who, who.equals("c1") ? 0 : 1))));
			s.append("c2 unlocks ").append(wire.call(42, null, String.format(body, "c2", 0)).say());
			s.append(" c2 ").append(locked(wire.call(41, null, String.format(body, "c2", 0))));
			s.append("c1 unlocks ").append(wire.call(42, null, String.format(body, "c1", 0)).say());
			s.append(" c2 ").append(locked(wire.call(41, null, String.format(body, "c2", 1))));
			return s.toString();
		}
	}

	private static String locked(Wire.Answer a) {
		List<String> queues = new ArrayList<>();
		for (Object q : (List<?>) a.at("lockOKMQSet"))
			queues.add(String.valueOf(((Map<?, ?>) q).get("queueId")));
		queues.sort(null);
		return a.code + " holds " + queues + "; ";
	}

	// --- pop --------------------------------------------------------------------

	private static Wire.Answer pop(Wire wire, String group, String topic, int count, long ms,
		long poll) throws IOException {
		return wire.call(200050, "consumerGroup", group, "topic", topic, "queueId", -1,
			"maxMsgNums", count, "invisibleTime", ms, "pollTime", poll, "bornTime",
			System.currentTimeMillis(), "initMode", 0, "expType", "TAG", "exp", "*",
			"order", false);
	}

	// The receipt as clients make it from the answer, for a message's offset.
	private static String receipt(Wire.Answer a, Wire.Stored m) {
		if (m.properties.containsKey("POP_CK"))
			return m.properties.get("POP_CK");
		String start = a.ext.get("startOffsetInfo").split(";")[0].split(" ")[2];
		return String.join(" ", start, a.ext.get("popTime"), a.ext.get("invisibleTime"),
			a.ext.get("reviveQid"), "0", "broker-a", String.valueOf(m.queueId),
			String.valueOf(m.queueOffset));
	}

	private static Wire.Answer ack(Wire wire, String group, String topic, String receipt)
		throws IOException {
		return wire.call(200051, "consumerGroup", group, "topic", topic, "queueId", 0, "extraInfo",
			receipt, "offset", receipt.substring(receipt.lastIndexOf(' ') + 1));
	}

	private static String pop() throws Exception {
		String topic = filled("pop", 3);
		String group = Suite.fresh("pop-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Wire.Answer a = pop(wire, group, topic, 2, 60000, 0);
			StringBuilder s = new StringBuilder(a.keys());
			s.append(' ').append(a.say("startOffsetInfo", "msgOffsetInfo", "restNum"));
			for (Wire.Stored m : Wire.messages(a.body))
				s.append(' ').append(m.body).append(" ack ").append(ack(wire, group, topic,
					receipt(a, m)).code);
			Wire.Answer next = pop(wire, group, topic, 32, 60000, 0);
			s.append(" next ").append(next.say("startOffsetInfo", "msgOffsetInfo", "restNum"));
			s.append(" then ").append(pop(wire, group, topic, 32, 60000, 0).say());
			Wire.Stored m = Wire.messages(next.body).get(0);
			String far = receipt(next, m).replaceAll(" \\d+$", " 999");
			return s + " ack beyond the queue " + ack(wire, group, topic, far).code;
		}
	}

	// What is not acknowledged in time comes again, in a retry topic.
	private static String popAgain() throws Exception {
		String topic = filled("pop-again", 1);
		String group = Suite.fresh("pop-again-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			pop(wire, group, topic, 1, 1000, 0);
			Wire.Answer[] again = new Wire.Answer[1];
			Suite.until(90, "the message again", () -> {
				again[0] = pop(wire, group, topic, 1, 60000, 500);
				return again[0].code == 0;
			});
			Wire.Stored m = Wire.messages(again[0].body).get(0);
			return m.body + " topic " + m.topic + " reconsumed " + m.reconsumeTimes
				+ " receipt in it: " + m.properties.containsKey("POP_CK") + " ack "
				+ ack(wire, group, topic, receipt(again[0], m)).code;
		}
	}

	private static String popChange() throws Exception {
		String topic = filled("pop-change", 1);
		String group = Suite.fresh("pop-change-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Wire.Answer a = pop(wire, group, topic, 1, 60000, 0);
			Wire.Stored m = Wire.messages(a.body).get(0);
			Wire.Answer changed = wire.call(200053, "consumerGroup", group, "topic", topic,
				"queueId", 0, "extraInfo", receipt(a, m), "offset", m.queueOffset,
				"invisibleTime", 1000);
			Suite.until(90, "the message again",
				() -> pop(wire, group, topic, 1, 60000, 500).code == 0);
			return changed.keys() + " and comes again before the first time was over";
		}
	}

	private static String popBatch() throws Exception {
		String topic = filled("pop-batch", 3);
		String group = Suite.fresh("pop-batch-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Wire.Answer a = pop(wire, group, topic, 32, 3000, 0);
			Wire.Answer acked = wire.call(200151, null, String.format("{\"brokerName\":"
				+ "\"broker-a\",\"acks\":[{\"c\":\"%s\",\"t\":\"%s\",\"r\":\"0\",\"so\":0,\"q\":0,"
				+ "\"rq\":%s,\"pt\":%s,\"it\":%s,\"b\":\"Bw==\"}]}", group, topic,
				a.ext.get("reviveQid"), a.ext.get("popTime"), a.ext.get("invisibleTime")));
			return Wire.messages(a.body).size() + " popped, acks " + acked.code;
		}
	}

	private static String popEmpty() throws Exception {
		String topic = Ask.topic("pop-empty", 1);
		String group = Suite.fresh("pop-empty-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			return "at once " + pop(wire, group, topic, 1, 60000, 0).code + " held "
				+ pop(wire, group, topic, 1, 60000, 1000).code + " any: " + wire.call(200054,
				"consumerGroup", group, "topic", topic, "queueId", 0, "pollTime", 0,
				"bornTime", System.currentTimeMillis()).say("hasMsg", "pollingFull")
				+ " polling " + wire.call(200055, "consumerGroup", group, "topic", topic,
				"queueId", 0).say("pollingNum") + " no such topic "
				+ pop(wire, group, Suite.fresh("none"), 1, 60000, 0).code;
		}
	}

	private static String assignment() throws Exception {
		String topic = Ask.topic("assignment", 2);
		String group = Suite.fresh("assignment-g");
		String ask = String.format("{\"topic\":\"%s\",\"consumerGroup\":\"%s\",\"clientId\":\"c1\","
			+ "\"strategyName\":\"AVG\",\"messageModel\":\"CLUSTERING\"}", topic, group);
		String mode = String.format("{\"topic\":\"%s\",\"consumerGroup\":\"%s\",\"mode\":\"POP\","
			+ "\"popShareQueueNum\":0}", topic, group);
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, topic, "*");
			Wire.Answer pull = wire.call(400, null, ask);
			Wire.Answer set = wire.call(401, null, mode);
			Wire.Answer pop = wire.call(400, null, ask);
			return pull.code + " " + queues(pull) + " set " + set.code + " " + pop.code + " "
				+ queues(pop);
		}
	}

	private static List<String> queues(Wire.Answer a) {
		List<String> all = new ArrayList<>();
		for (Object one : (List<?>) a.at("messageQueueAssignments")) {
			Map<?, ?> queue = (Map<?, ?>) ((Map<?, ?>) one).get("messageQueue");
			all.add(((Map<?, ?>) one).get("mode") + ":" + queue.get("queueId"));
		}
		all.sort(null);
		return all;
	}
}
