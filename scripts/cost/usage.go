package cost

import (
	"time"

	"github.com/stile-dev/stile/pkg/kms/mac"
	"github.com/stile-dev/stile/pkg/presence"
)

// scenario is a month of one cluster.
type scenario struct {
	name             string
	engineers, nodes int
	proxies          int     // 0: as many as the template says
	flood            float64 // calls a second to each open route, all month
}

var scenarios = []scenario{
	{name: "idle"},
	{name: "10 engineers, 50 nodes", engineers: 10, nodes: 50},
	{name: "100 engineers, 500 nodes", engineers: 100, nodes: 500},
	{name: "2,000 engineers, 10,000 nodes", engineers: 2000, nodes: 10000, proxies: 3},
}

// month is 365 days in twelve.
const (
	hours   = 730.0
	seconds = hours * 3600
)

// headEvery is HeadEvery of proxy/feed, which programs don't share.
const headEvery = 250 * time.Millisecond

// sweepEvery is the rate in infra/stack/control.go.
const sweepEvery = 10 * time.Minute

// What an engineer and a node do. They are assumptions, and stand in the document.
const (
	workdays      = 21.0
	loginsADay    = 2.0
	listsADay     = 20.0  // stile ls, get and status
	sessionsADay  = 15.0  // each opens a connection and makes events
	chunksASess   = 20.0  // of the recording: one for each ten seconds in which something is shown
	eventsASess   = 4.0   // written to the ledger, and one for each chunk
	sessionGB     = 0.002 // to the engineer
	recordedShare = 0.2   // of that, compressed
	asksADay      = 0.2   // questions to the audit lake, for each engineer, each about a week
	changesADay   = 0.05  // of roles, users, mappings and tokens, for each engineer
	renewalsADay  = 1.5   // a certificate is good for 24 hours and renewed at 16
	nodeTrafficGB = 0.05  // a month: keeping a tunnel, and documents each minute
)

// What one call leads to. Writes and calls of KMS are counted by TestAFloodCallsNoKMS in integration where a stranger can
// cause them; times are what such functions take when they are warm.
const (
	arrivalWrites = 2.0 // of a rate, at most
	proofWrites   = 10.0
	proofReads    = 60.0
	frontSeconds  = 0.03 // a challenge, or a refusal
	signSeconds   = 0.25 // a signer's run, and as long again the front waits
	signaturesFor = 2.0
	runLogGB      = 1.0e-6 // START, END, REPORT and one line
	changeWrites  = 12.0
	eventWrites   = 2.0  // the event, and where it is by its session
	recordWrites  = 12.0 // a recording's entry, its lease and its completion, as transactions
	recordReads   = 8.0  // of each call: documents, lists and the entry
	lookReads     = 0.6  // of each event, when gaps are looked for: 1.2 KB, half of them twice
	lookWrites    = 4.0  // of each session, of what is kept of its agent's numbers
)

// usage is a month's quantities, by the name of their price.
type usage map[string]float64

// consumed is what the scenario uses of what is billed by use. What is billed by time is in resources.go.
func (s scenario) consumed(t facts) usage {
	u := usage{}
	s.heartbeats(u, t)
	people := float64(s.engineers) * workdays
	proofs := people*loginsADay + float64(s.nodes)*renewalsADay*365/12
	u.calls(2*proofs, t.front, frontSeconds)
	u.calls(proofs, t.front, signSeconds)
	u.runs(proofs, t.signer, signSeconds)
	u["signature"] += signaturesFor * proofs
	u["write unit"] += (2*arrivalWrites + proofWrites) * proofs
	u["read unit"] += proofReads * proofs
	u.calls(people*listsADay, t.signer, 2*frontSeconds)
	u["read unit"] += people * listsADay * (10 + float64(s.nodes)/20)
	changes := people * changesADay
	u.calls(changes, t.signer, 2*signSeconds)
	u.runs(changes, t.signer, 2*signSeconds)
	u["signature"] += changes
	u["write unit"] += changes * changeWrites
	recorded := people * sessionsADay
	u.calls(recorded*(chunksASess+3), t.signer, frontSeconds) // claimed, granted with the manifest, and confirmed
	u["read unit"] += recorded * (chunksASess + 3) * recordReads
	u["object write"] += recorded * (chunksASess + 1)
	u["write unit"] += recorded * (recordWrites + eventWrites*(eventsASess+chunksASess))
	u.relayed(recorded*(eventsASess+chunksASess)+proofs+changes, t.front)
	u.asked(people*asksADay, recorded*(eventsASess+chunksASess)/30*8, t.signer)
	u["read unit"] += recorded * (eventsASess + chunksASess) * lookReads
	u["write unit"] += recorded * lookWrites
	sessions, tunnels := recorded*sessionGB, float64(s.nodes)*nodeTrafficGB
	u["traffic"] += sessions + tunnels
	u["balancer capacity"] += capacity(2*sessions + tunnels)
	u["table storage"] += 0.1 + recorded*(eventsASess+chunksASess)*12*1.2e-6 // a year of events of 1 KB, and where they are
	u["object storage"] += 1 + 12*sessions*recordedShare                     // a year of recordings
	s.flooded(u, t)
	return u
}

// relayed adds what audit events take on their way to the lake. The relay runs for a batch of each second in which there is one,
// and so it does for the other items of the stream that are no events, which the filter keeps away.
func (u usage) relayed(events, gigabytes float64) {
	const (
		recordGB = 5e-6 // what Firehose takes for a record of less
		fileMin  = 1.0  // minutes between two files of a day in which something happens all the time
	)
	u["event"] += events
	u["delivery"] += events * recordGB
	u["conversion"] += events * recordGB
	u["object write"] += min(events, seconds/60/fileMin)
	u.runs(min(events, seconds), gigabytes, 0.1)
	u["object storage"] += events * 12 * 0.3e-6 // a year, as Parquet
}

// asked adds questions to the lake: each reads the events of a week and a day, and before that out of the ledger what it received
// last, and is looked at until it has ended.
func (u usage) asked(questions, events, gigabytes float64) {
	const (
		looks    = 8.0   // calls for each, with the start and the rows
		eventTB  = 3e-10 // as Parquet
		leastTB  = 1e-5
		eachLook = 0.1             // seconds
		shards   = 80              // partitions of a day
		last     = 0.75 / (8 * 24) // 45 minutes of eight days
		most     = 20_000
		units    = 0.3 // for an event of 1.2 KB
	)
	u["read unit"] += questions * (shards + min(last*events, most)*units)
	u["object write"] += questions
	u.calls(questions*looks, gigabytes, eachLook)
	u["read unit"] += questions * looks * 4
	u["write unit"] += questions * 3
	u["query"] += questions * max(leastTB, events*eventTB)
	u["object read"] += questions * 24 * 60 * 8 // a file for each minute
}

// capacity is the NLCUs of a month in which so many GB pass a balancer: one each hour at least, and else one for each GB.
// Connections ask for less: 10,000 nodes with two tunnels each are a fifth of one.
func capacity(gigabytes float64) float64 { return max(hours, gigabytes) }

// heartbeats are what runs when nobody does anything, at the rhythms that the code has.
func (s scenario) heartbeats(u usage, t facts) {
	per := func(every time.Duration) float64 { return seconds / every.Seconds() }
	proxies := float64(t.proxies)
	u["write unit"] += proxies * per(presence.LeaseEvery)
	u["read unit"] += proxies * per(headEvery) * 2 // the head and the newest changes, read consistently
	// Publication each minute: a signature, the document and the head.
	publications := per(time.Minute)
	u.runs(publications, t.signer, signSeconds)
	u["signature"] += publications
	u["object write"] += publications
	u["object read"] += publications * 3
	u["write unit"] += publications * 4
	u["read unit"] += publications * 20
	// A look at the leases of recordings, in 32 partitions, and one for gaps, in agents' 8 of the ledger.
	sweeps := per(sweepEvery)
	u.runs(sweeps, t.signer, 2*signSeconds)
	u["read unit"] += sweeps * (16 + 16)
	u["write unit"] += sweeps
	u["object read"] += sweeps
	// One warm instance of each function that makes or judges challenges; a cold one costs one call more.
	u["mac"] += 4 * per(mac.Period)
}

// flooded adds a flood of each open route, all of it well-formed and from as many addresses as it takes.
func (s scenario) flooded(u usage, t facts) {
	n := s.flood * seconds
	challenges, claims := n*float64(t.challengeRoutes), n*float64(t.openRoutes-t.challengeRoutes)
	u.calls(challenges, t.front, frontSeconds)
	u.calls(claims, t.front, signSeconds)
	u.runs(claims, t.signer, signSeconds)
	u["write unit"] += arrivalWrites * (challenges + claims)
	u["read unit"] += 2 * claims
}

// calls adds calls of the API to a function of so much memory, which run for so many seconds.
func (u usage) calls(n, gigabytes, each float64) {
	u["api call"] += n
	u.runs(n, gigabytes, each)
}

func (u usage) runs(n, gigabytes, each float64) {
	u["lambda run"] += n
	u["lambda time"] += n * gigabytes * each
	u["log"] += n * runLogGB
}
