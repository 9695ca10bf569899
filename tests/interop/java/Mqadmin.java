// Mqadmin.java - Apache's mqadmin, a command a case: what it prints, normalised.

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.command.MQAdminStartup;

final class Mqadmin {
	private static final PrintStream OUT = System.out;
	private static final PrintStream ERR = System.err;

	// What the commands look at: a topic with five messages, the third of key
	// "key", and a group that has consumed all and is offline.
	private static int tries;
	private static String topic;
	private static String group;
	private static SendResult third;

	private Mqadmin() {
	}

	static void add() {
		Suite.add("updateTopic", () -> run("updateTopic -b BROKER -t made -r 3 -w 2 -p 6")
			+ run("topicRoute -t made"));
		Suite.add("updateTopicPerm", () -> run("updateTopic -b BROKER -t perm -r 1 -w 1")
			+ run("updateTopicPerm -b BROKER -t perm -p 4"));
		Suite.add("updateTopic-cluster", () -> run("updateTopic -c DefaultCluster -t wide -r 1 -w 1"));
		Suite.add("updateTopic-illegal", () -> run("updateTopic -b BROKER -t a.b"));
		Suite.add("topicList", () -> keep("^TOPIC$", run("topicList")));
		Suite.add("topicClusterList", () -> run("topicClusterList -t TOPIC"));
		Suite.add("topicStatus", () -> run("topicStatus -t TOPIC"));
		Suite.add("topicRoute", () -> run("topicRoute -t TOPIC"));
		Suite.add("topicRoute-unknown", () -> keep("CODE", run("topicRoute -t none")));
		Suite.add("allocateMQ", () -> run("allocateMQ -t TOPIC -i 10.0.0.1,10.0.0.2"));
		Suite.add("deleteTopic", () -> run("updateTopic -b BROKER -t gone -r 1 -w 1")
			.substring(0, 0) + run("deleteTopic -c DefaultCluster -t gone")
			+ keep("CODE", run("topicRoute -t gone")));
		Suite.add("statsAll", () -> sorted(keep("TOPIC|#Topic",
			run("statsAll -t TOPIC"))).replaceAll("\\d+ \\d+ /", "N N /"));
		Suite.add("updateOrderConf", () -> run("updateOrderConf -m put -t TOPIC -v broker-a:1")
			+ run("updateOrderConf -m get -t TOPIC") + run("updateOrderConf -m delete -t TOPIC"));
		Suite.add("updateKvConfig", () -> run("updateKvConfig -s Sp -k k -v v")
			+ run("deleteKvConfig -s Sp -k k"));
		Suite.add("clusterList", () -> keep("#Cluster|DefaultCluster", run("clusterList"))
			.replaceAll("(V\\d_\\d_\\d) .*", "$1 ..."));
		Suite.add("clusterList-more", () -> keep("#Cluster|DefaultCluster", run("clusterList -m"))
			.replaceAll("\\b\\d+\\b", "N"));
		Suite.add("brokerStatus", () -> words(run("brokerStatus -b BROKER")));
		Suite.add("getBrokerConfig", () -> keep("brokerName|brokerId|autoCreateTopic|flushDisk",
			run("getBrokerConfig -b BROKER")));
		Suite.add("updateBrokerConfig", () -> run("updateBrokerConfig -b BROKER "
			+ "-k fileReservedTime -v 71") + keep("fileReservedTime",
			run("getBrokerConfig -b BROKER")));
		Suite.add("getNamesrvConfig", () -> keep("listenPort",
			run("getNamesrvConfig")).replaceAll("\\d+", "N"));
		Suite.add("wipeWritePerm", () -> run("wipeWritePerm -b none")
			+ run("addWritePerm -b none"));
		Suite.add("sendMessage", () -> run("sendMessage -t TOPIC -p body -k sent -b broker-a -i 0"));
		Suite.add("consumeMessage", () -> keep("body|Consume ok",
			run("consumeMessage -t TOPIC -b broker-a -i 0 -o 0 -c 1 -g reading-g")));
		Suite.add("printMsg", () -> String.valueOf(run("printMsg -t TOPIC -d true -c UTF-8")
			.split("BODY").length - 1 >= 5));
		Suite.add("printMsgByQueue", () -> keep("MSGID", run("printMsgByQueue -t TOPIC "
			+ "-a broker-a -i 0 -p true -d true -c UTF-8")).replaceAll("MSGID.*?BODY: ?", ""));
		Suite.add("queryMsgById", () -> track(run("queryMsgById -t TOPIC -i OFFSETID")));
		Suite.add("queryMsgByKey", () -> run("queryMsgByKey -t TOPIC -k key"));
		Suite.add("queryMsgByUniqueKey", () -> track(run("queryMsgByUniqueKey "
			+ "-t TOPIC -i UNIQUE")));
		Suite.add("queryMsgByOffset", () -> track(run("queryMsgByOffset -t TOPIC "
			+ "-b broker-a -i 0 -o 2")));
		Suite.add("queryMsgByOffset-none", () -> run("queryMsgByOffset -t TOPIC -b broker-a -i 0 "
			+ "-o 999"));
		Suite.add("queryCq", () -> run("queryCq -t TOPIC -q 0 -i 0 -c 2 -b BROKER"));
		Suite.add("checkMsgSendRT", () -> words(run("checkMsgSendRT -t SENDRT -a 3 -s 10")));
		Suite.add("updateSubGroup", () -> run("updateSubGroup -b BROKER -g made-g -r 5 -q 2"));
		Suite.add("getConsumerConfig", () -> run("getConsumerConfig -g GROUP"));
		Suite.add("setConsumeMode", () -> run("setConsumeMode -b BROKER -t TOPIC -g popped -m POP "
			+ "-q 1"));
		Suite.add("deleteSubGroup", () -> run("updateSubGroup -b BROKER -g gone-g")
			.substring(0, 0) + run("deleteSubGroup -b BROKER -g gone-g"));
		Suite.add("consumerProgress", () -> run("consumerProgress -g GROUP"));
		Suite.add("consumerProgress-all", () -> keep("GROUP|#Group", run("consumerProgress")));
		Suite.add("consumerProgress-unknown", () -> keep("CODE|Exception",
			run("consumerProgress -g none-g")));
		Suite.add("brokerConsumeStats", () -> keep("GROUP|#Topic",
			run("brokerConsumeStats -b BROKER -t 15000")));
		Suite.add("consumerConnection-offline", () -> keep("CODE",
			run("consumerConnection -g GROUP")));
		Suite.add("consumerConnection", Mqadmin::online);
		Suite.add("producerConnection", Mqadmin::producing);
		Suite.add("resetOffsetByTime", () -> run("resetOffsetByTime -g GROUP -t TOPIC -s 0")
			+ keep("TOPIC", run("consumerProgress -g GROUP")));
		Suite.add("skipAccumulatedMessage", () -> run("skipAccumulatedMessage -g GROUP -t TOPIC")
			+ keep("TOPIC", run("consumerProgress -g GROUP")));
		Suite.add("cloneGroupOffset", () -> run("cloneGroupOffset -s GROUP -d copy-g -t TOPIC "
			+ "-o false"));
		Suite.add("haStatus", () -> words(run("haStatus -b BROKER")));
		Suite.add("cleanExpiredCQ", () -> run("cleanExpiredCQ -b BROKER"));
		Suite.add("cleanUnusedTopic", () -> run("cleanUnusedTopic -b BROKER"));
		Suite.add("deleteExpiredCommitLog", () -> run("deleteExpiredCommitLog -b BROKER"));
		Suite.add("exportMetadata", () -> words(run("exportMetadata -b BROKER -t -f "
			+ System.getProperty("user.home") + "/export")));
	}

	private static void prepare() throws Exception {
		String name = "looked-at" + (tries++ == 0 ? "" : tries); // not one half made
		String t = Ask.topic(name, 1);
		DefaultMQProducer p = Sending.producer();
		for (int i = 0; i < 5; i++) {
			SendResult r = p.send(new Message(t, "tag", i == 2 ? "key" : "",
				("body" + i).getBytes(StandardCharsets.UTF_8)));
			third = i == 2 ? r : third;
		}
		p.shutdown();
		Inbox inbox = Groups.consumer(name + "-g", t, "*", m -> { });
		group = inbox.consumer.getConsumerGroup();
		inbox.await(5, 60);
		// What was just listened to is not yet what will be committed.
		MessageQueue queue = new MessageQueue(t, "broker-a", 0);
		for (int i = 0; i < 200 && inbox.consumer.getDefaultMQPushConsumerImpl()
			.getOffsetStore().readOffset(queue,
			ReadOffsetType.MEMORY_FIRST_THEN_STORE) < 5; i++)
			Thread.sleep(50);
		inbox.close();
		topic = t;
	}

	// Runs a command; the words in capitals stand for what was prepared.
	static synchronized String run(String command) throws Exception {
		if (topic == null)
			prepare();
		List<String> args = new ArrayList<>();
		for (String word : command.split(" "))
			args.add(word.equals("TOPIC") ? topic : word.equals("GROUP") ? group
				: word.equals("BROKER") ? Suite.broker
				: word.equals("OFFSETID") ? third.getOffsetMsgId()
				: word.equals("UNIQUE") ? third.getMsgId()
				: word.equals("SENDRT") ? topic
				: word.matches("(made|perm|wide|gone|popped|copy|none)(-g)?")
				? Suite.fresh(word) : word);
		args.add("-n");
		args.add(Suite.namesrv);
		ByteArrayOutputStream text = new ByteArrayOutputStream();
		System.setOut(new PrintStream(text, true, "UTF-8"));
		System.setErr(System.out);
		try {
			MQAdminStartup.main0(args.toArray(new String[0]), null);
		} finally {
			System.setOut(OUT);
			System.setErr(ERR);
		}
		return normal(text.toString(StandardCharsets.UTF_8));
	}

	private static String normal(String text) {
		return text.replace(System.getProperty("user.home"), "HOME")
			.replaceAll("(?m)^\\s*(at |\\.\\.\\. |For more|See http|org.apache).*\n", "")
			.replaceAll("Caused by.*?CODE: (\\d+) .*\n", "CODE $1\n")
			.replace(topic, "TOPIC").replace(group, "GROUP")
			.replaceAll("\\d+\\.\\d+\\.\\d+\\.\\d+(:\\d+)?(@[^\\s,]*)?",
			"ADDRESS").replace(Suite.broker, "BROKER")
			.replaceAll("\\b[0-9A-F]{32,}\\b", "ID")
			.replaceAll("\\d{4}-\\d\\d-\\d\\d.\\d\\d:\\d\\d:\\d\\d([,.:]\\d+)?", "TIME")
			.replaceAll("_/\\S+", "_PATH")
			.replaceAll("(CommitLog Offset:\\s+|commitLogOffset=|physicOffset=)\\d+", "$1N")
			.replaceAll("\\b\\d{6,}\\b", "N").replaceAll("\\d+\\.\\d+", "X.X")
			.replaceAll("[ \t]+", " ").replaceAll("\\s*\n\\s*", " / ");
	}

	// The lines that match.
	private static String keep(String pattern, String text) {
		StringBuilder s = new StringBuilder();
		for (String line : text.split(" / "))
			if (line.replaceAll("(?s).*(" + pattern + ").*", "").isEmpty() && !line.startsWith("at "))
				s.append(line).append(" / ");
		return s.toString();
	}

	private static String sorted(String text) {
		String[] lines = text.split(" / ");
		java.util.Arrays.sort(lines);
		return String.join(" / ", lines) + " / ";
	}

	// Only of the group: Apache's broker takes the topic for one, too, in any order.
	private static String track(String text) {
		return text.replaceAll("(?s)MessageTrack \\[consumerGroup=TOPIC,.*?(?=MessageTrack|$)", "");
	}

	// The names of values, without the values.
	private static String words(String text) {
		return text.replaceAll("\\S*HOME\\S*", "PATH").replaceAll(" ?: [^/]*", "")
			.replaceAll("scheduleMessageOffset_\\d+/ ", "").replaceAll("[0-9]+", "N")
			.replaceAll("(\\S+ / )\\1+", "$1");
	}

	private static String online() throws Exception {
		Inbox inbox = Groups.consumer("online-g", topic == null ? run("topicList") : topic, "a||b",
			m -> { });
		try {
			inbox.queues(1);
			String g = inbox.consumer.getConsumerGroup();
			return run("consumerConnection -g " + g)
				.replaceAll("(TOPIC a\\|\\|b / )(%RETRY%\\S+ \\* / )", "$2$1") + run("consumerStatus -g " + g)
				.replaceAll("=.*", "");
		} finally {
			inbox.close();
		}
	}

	private static String producing() throws Exception {
		String all = run("topicList"); // prepares
		DefaultMQProducer p = Sending.producer();
		p.send(Sending.message(topic, "x"));
		try (Wire wire = Wire.broker()) {
			Suite.until(40, "registered", () -> wire.call(204, "producerGroup", "producers").code == 0);
		}
		String s = run("producerConnection -g producers -t TOPIC");
		p.shutdown();
		return all.substring(0, 0) + s.replaceAll("(.*?Version).*", "$1");
	}
}
