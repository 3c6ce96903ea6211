package stack

import (
	"slices"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/stile-dev/stile/pkg/names"
)

// Functions, named as their folders under functions/.
const (
	fnAdmin     = "admin"
	fnAPI       = "api"
	fnCanary    = "canary"
	fnImage     = "image"
	fnJoin      = "join"
	fnLogin     = "login"
	fnPublish   = "publish"
	fnQuery     = "query"
	fnRecording = "recording"
	fnRotate    = "rotate"
	fnSignHost  = "sign-host"
	fnSignUser  = "sign-user"
	fnStock     = "stock"
	fnSweep     = "sweep"
)

// function is one Lambda function: what it gets, and what its role may do.
type function struct {
	name       string
	does       string
	memory     float64 // MB; the processor's share grows with it
	timeout    float64 // seconds
	tables     []string
	bucketless bool     // it doesn't need the documents
	keys       []string // purposes whose key ARNs it is given
	env        map[string]func() *string
	may        func() []statement
}

// Functions lists the functions' names, sorted.
func Functions() []string {
	out := []string{imageFunction.name, relayFunction.name, stockFunction.name}
	for _, f := range functions {
		out = append(out, f.name)
	}
	slices.Sort(out)
	return out
}

var caKeys = []string{names.KeyHostSSH, names.KeyHostX509, names.KeyPolicy, names.KeyRoot, names.KeyUserSSH, names.KeyUserX509}

// functions are those of Control, sorted by name.
var functions = []function{
	{
		name: fnAdmin, does: "the only writer of roles, users, mappings and tokens", memory: 512, timeout: 28,
		tables: []string{tableState, tableSecrets, tableLedger},
		env: map[string]func() *string{
			names.EnvPublish: functionName(fnPublish), names.EnvBootstrapAdmin: bootstrapAdmin, names.EnvCanaryRole: canaryMatch,
			names.EnvBucketLake: func() *string { return imported(Data, bucketLake+"Name") },
		},
		may: func() []statement {
			return []statement{
				items(tableState, "GetState", getting, names.Role, names.User, names.Mapping, names.Token, names.Settings, names.Target, names.Agent, names.Place, names.Input, names.Order, names.Revoked),
				items(tableState, "ListState", querying, names.Role, names.User, names.Mapping, names.Token, names.Settings, names.Target, names.Order, names.Head),
				items(tableState, "PutState", putting, names.Role, names.User, names.Mapping, names.Token, names.Settings, names.Order),
				items(tableState, "CountInputs", updating, names.Input),
				items(tableState, "DeleteState", deleting, names.Role, names.User, names.Mapping, names.Token, names.Settings, names.Target, names.Agent, names.Place),
				items(tableSecrets, "PutSecrets", putting, names.TokenHash, names.Nonce),
				items(tableSecrets, "DeleteTokenHashes", deleting, names.TokenHash),
				items(tableSecrets, "CountChanges", updating, names.Arrival),
				items(tableLedger, "PutEvents", putting, eventsOf(fnAdmin), names.Decided),
				objects("ReadDocuments", "s3:GetObject", ""),
				keepBodies(),
				invoke(fnPublish),
			}
		},
	},
	{
		name: fnAPI, does: "serves engineers and auditors", memory: 512, timeout: 28,
		tables: []string{tableState, tablePresence, tableLedger},
		may: func() []statement {
			return []statement{
				items(tableLedger, "GetEvents", getting, names.Event, names.Certificate),
				items(tableLedger, "ListEvents", querying, names.Event, names.Happened, names.Decided),
				items(tableState, "GetRevoked", getting, names.Revoked),
				items(tableState, "ListState", querying, names.Head, names.Target),
				items(tablePresence, "ListPresence", querying, names.Proxy, names.Tunnels),
				objects("ReadDocuments", "s3:GetObject", ""),
			}
		},
	},
	{
		name: fnCanary, does: "logs in as nobody every five minutes, and measures it", memory: 256, timeout: 60, bucketless: true,
		may: func() []statement { return nil },
	},
	{
		name: fnJoin, does: "passes agents' and proxies' evidence to sign-host", memory: 256, timeout: 28,
		tables: []string{tablePresence}, bucketless: true, keys: []string{names.KeyChallenge},
		env: map[string]func() *string{names.EnvSignHost: functionName(fnSignHost)},
		may: func() []statement {
			return []statement{
				deriveChallengeKeys(),
				items(tablePresence, "ListProxies", querying, names.Proxy),
				items(tablePresence, "CountArrivals", updating, names.Arrival),
				invoke(fnSignHost),
			}
		},
	},
	{
		name: fnLogin, does: "passes people's evidence to sign-user", memory: 256, timeout: 28,
		tables: []string{tablePresence}, bucketless: true, keys: []string{names.KeyChallenge},
		env: map[string]func() *string{names.EnvSignUser: functionName(fnSignUser)},
		may: func() []statement {
			return []statement{
				deriveChallengeKeys(),
				items(tablePresence, "ListProxies", querying, names.Proxy),
				items(tablePresence, "CountArrivals", updating, names.Arrival),
				invoke(fnSignUser),
			}
		},
	},
	{
		name: fnPublish, does: "compiles, signs and stores policy and revocations", memory: 512, timeout: 60,
		tables: []string{tableState, tableLedger}, keys: []string{names.KeyPolicy},
		may: func() []statement {
			return append(keepFailures(),
				keyUse("SignDocuments", signAction, signing, names.KeyPolicy),
				keyUse("ReadPublicKey", "kms:GetPublicKey", nil, names.KeyPolicy),
				items(tableState, "GetInputs", getting, names.Order, names.Input, names.Settings, names.Head, names.Revoked),
				items(tableState, "ListInputs", querying, names.Role, names.Lock, names.Order),
				items(tableState, "PutDocuments", putting, names.Head, names.Revoked),
				items(tableState, "MoveHead", updating, names.Head),
				items(tableLedger, "PutEvents", putting, eventsOf(fnPublish), claimsOf(fnPublish)),
				objects("ReadDocuments", "s3:GetObject", "policy/", "trust/", "revocations/"),
				objects("StoreDocuments", "s3:PutObject", "policy/", "revocations/"),
				statement{
					Sid: "ReadStream", Actions: []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
					Resources: []any{imported(Data, tableState+"Stream")},
				},
				statement{
					Sid: "FindStream", Actions: []string{"dynamodb:ListStreams"}, Resources: []any{"*"},
					Why: "Lambda's event source mapping needs it, and the action knows no resource",
				},
			)
		},
	},
	{
		name: fnQuery, does: "the only one that asks the lake", memory: 1024, timeout: 28,
		tables: []string{tableState, tableLedger, tablePresence},
		env: map[string]func() *string{
			names.EnvBucketLake:    func() *string { return imported(Data, bucketLake+"Name") },
			names.EnvBucketResults: func() *string { return imported(Data, bucketResults+"Name") },
		},
		may: mayQuery,
	},
	{
		name: fnRecording, does: "the only one that hands out ways to recordings", memory: 512, timeout: 28,
		tables: []string{tableState, tableLedger, tablePresence},
		env: map[string]func() *string{
			names.EnvBucketRecordings: func() *string { return imported(Data, bucketRecordings+"Name") },
			names.EnvReaderRole:       func() *string { return roleARN(reader) },
		},
		may: func() []statement {
			return []statement{
				items(tableState, "GetState", getting, names.Revoked, names.Recorded),
				items(tableState, "ListState", querying, names.Head, names.Recorded, names.RecordedOf),
				items(tableState, "PutRecorded", putting, names.Recorded, names.RecordedOf, names.Recorder),
				items(tableState, "DropRecorders", deleting, names.Recorder),
				items(tablePresence, "CountBrought", updating, names.Brought),
				items(tableLedger, "PutEvents", putting, eventsOf(fnRecording), names.Happened, names.Decided),
				objects("ReadDocuments", "s3:GetObject", ""),
				recordings("GrantUploads", "s3:PutObject"),
				recordings("ConfirmUploads", "s3:GetObject"),
				{
					Sid: "ListRecordings", Actions: []string{"s3:ListBucket", "s3:ListBucketVersions"}, Resources: []any{imported(Data, bucketRecordings+"Arn")},
				},
				{Sid: "TakeReader", Actions: []string{"sts:AssumeRole"}, Resources: []any{roleARN(reader)}},
			}
		},
	},
	{
		name: fnRotate, does: "signs the trust document", memory: 256, timeout: 120,
		tables: []string{tableState, tableLedger}, keys: caKeys,
		may: func() []statement {
			return []statement{
				keyUse("SignTrust", signAction, signing, names.KeyRoot),
				keyUse("ReadPublicKeys", "kms:GetPublicKey", nil, caKeys...),
				items(tableState, "GetHead", getting, names.Head),
				items(tableState, "MoveHead", updating, names.Head),
				items(tableLedger, "PutEvents", putting, eventsOf(fnRotate), claimsOf(fnRotate)),
				objects("ReadTrust", "s3:GetObject", "trust/"),
				objects("PutTrust", "s3:PutObject", "trust/"),
			}
		},
	},
	{
		name: fnSignHost, does: "verifies agents' and proxies' evidence, decides and signs", memory: 512, timeout: 25,
		tables: []string{tableState, tableSecrets, tableLedger}, keys: []string{names.KeyChallenge, names.KeyHostSSH, names.KeyHostX509},
		env: map[string]func() *string{names.EnvFleetRole: fleetMatch},
		may: func() []statement {
			return []statement{
				deriveChallengeKeys(),
				keyUse("SignCertificates", signAction, signing, names.KeyHostSSH, names.KeyHostX509),
				keyUse("ReadPublicKeys", "kms:GetPublicKey", nil, names.KeyHostSSH, names.KeyHostX509),
				items(tableState, "GetState", getting, names.Token, names.Revoked, names.Agent),
				items(tableState, "ListState", querying, names.Head, names.Place),
				items(tableState, "PutHosts", putting, names.Target, names.Agent, names.Place),
				items(tableState, "FreeTargets", deleting, names.Target),
				items(tableSecrets, "UseTokens", slices.Concat(getting, updating), names.TokenHash),
				items(tableSecrets, "UseEvidence", putting, names.Used, names.Joined),
				items(tableSecrets, "RecallJoins", getting, names.Joined),
				items(tableLedger, "PutLedger", putting, names.Issuance, eventsOf(fnSignHost), names.Decided, claimsOf(fnSignHost)),
				objects("ReadDocuments", "s3:GetObject", ""),
			}
		},
	},
	{
		name: fnSignUser, does: "verifies people's evidence, decides and signs", memory: 512, timeout: 25,
		tables: []string{tableState, tableSecrets, tableLedger}, keys: []string{names.KeyChallenge, names.KeyUserSSH, names.KeyUserX509},
		env: map[string]func() *string{names.EnvBootstrapAdmin: bootstrapAdmin, names.EnvCanaryRole: canaryMatch},
		may: func() []statement {
			return []statement{
				deriveChallengeKeys(),
				keyUse("SignCertificates", signAction, signing, names.KeyUserSSH, names.KeyUserX509),
				keyUse("ReadPublicKeys", "kms:GetPublicKey", nil, names.KeyUserSSH, names.KeyUserX509),
				items(tableState, "GetState", getting, names.User, names.Revoked),
				items(tableState, "ListState", querying, names.Role, names.Mapping, names.Head),
				items(tableSecrets, "UseEvidence", putting, names.Used),
				items(tableLedger, "PutLedger", putting, names.Issuance, eventsOf(fnSignUser), names.Decided, claimsOf(fnSignUser)),
				objects("ReadDocuments", "s3:GetObject", ""),
			}
		},
	},
	{
		name: fnSweep, does: "closes recordings whose agents aren't heard of any more, reading none, tells what the ledger lacks of agents' events and of signatures, and sends again what the lake lacks", memory: 512, timeout: 300,
		tables: []string{tableState, tableLedger},
		env: map[string]func() *string{
			names.EnvBucketRecordings: func() *string { return imported(Data, bucketRecordings+"Name") },
			names.EnvSignings:         func() *string { return ref(signingsID) },
			names.EnvSigners:          signersByRole,
			names.EnvBus:              func() *string { return imported(Data, "BusName") },
			names.EnvQuery:            functionName(fnQuery),
		},
		may: func() []statement {
			return []statement{
				items(tableState, "GetRecorded", getting, names.Recorded, names.Recorder),
				items(tableState, "ListRecorders", querying, names.Recorder),
				items(tableState, "MarkRecorded", putting, names.Recorded, names.RecordedOf),
				items(tableState, "DropRecorders", deleting, names.Recorder),
				items(tableState, "GetCounted", getting, names.Head, names.Counted, names.Looked, names.Checked),
				items(tableState, "ListGaps", querying, names.Gap),
				items(tableState, "PutCounted", putting, names.Counted, names.Looked, names.Gap, names.Checked),
				items(tableState, "DropGaps", deleting, names.Gap),
				items(tableState, "ListSignings", querying, names.Signing),
				items(tableState, "PutSignings", putting, names.Signing),
				items(tableLedger, "GetEvents", getting, names.Event, names.Certificate, names.Claimed),
				items(tableLedger, "ListEvents", querying, names.Happened, names.Event, names.Claimed),
				items(tableLedger, "PutEvents", putting, eventsOf(fnSweep), names.Happened),
				{Sid: "TakeSignings", Actions: []string{"sqs:DeleteMessage", "sqs:ReceiveMessage"}, Resources: []any{awscdk.Fn_GetAtt(new(signingsID), new("Arn"))}},
				{Sid: "PutOnBus", Actions: []string{"events:PutEvents"}, Resources: []any{imported(Data, "BusArn")}},
				invoke(fnQuery),
				objects("ReadTrust", "s3:GetObject", "trust/"),
				{
					Sid: "StateRecordings", Actions: []string{"s3:PutObject"}, Resources: []any{join(imported(Data, bucketRecordings+"Arn"), "/recordings/*/statement.json")},
					Why: "there are as many recordings as sessions",
				},
				recordings("HeadRecordings", "s3:GetObject"),
				{Sid: "ListRecordings", Actions: []string{"s3:ListBucket"}, Resources: []any{imported(Data, bucketRecordings+"Arn")}},
			}
		},
	},
}

// reader names the role that URLs of recordings are signed as, as if it were a function's.
const reader = "recording-reader"

// recordings grants an action on all recordings.
func recordings(sid, action string) statement {
	return statement{
		Sid: sid, Actions: []string{action}, Resources: []any{join(imported(Data, bucketRecordings+"Arn"), "/recordings/*")},
		Why: "there are as many recordings as sessions",
	}
}

// newReader declares the role that URLs of recordings are signed as. Only functions/recording takes it, each time in a session
// that may read one recording. It is told by a condition, since a role's ARN as the principal would come to stand for its id,
// and for nothing once that role is made again.
func newReader(s awscdk.Stack) {
	newRole(s, reader, account, condition{"ArnEquals": {"aws:PrincipalArn": roleARN(fnRecording)}}, []statement{
		{
			Sid: "ReadRecordings", Actions: []string{"s3:GetObjectVersion"},
			Resources: []any{join(imported(Data, bucketRecordings+"Arn"), "/recordings/*")}, Why: "each session of the role is narrowed to one recording",
		},
	})
}

func clusterName() *string { return ref("ClusterName") }

func bootstrapAdmin() *string { return ref("BootstrapAdmin") }

// Functions have fixed names, so that the API's document and the roles can name them without a cycle.
func functionName(name string) func() *string {
	return func() *string { return new("stile-" + name) }
}

func functionARN(name string) *string {
	return sub("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:stile-" + name)
}

// newFunction declares a function with its log and role.
func newFunction(s awscdk.Stack, f function, code *awslambda.CfnFunction_CodeProperty) awslambda.CfnFunction {
	log := awslogs.NewCfnLogGroup(s, new("Log"+camel(f.name)), &awslogs.CfnLogGroupProps{
		LogGroupName: new("/stile/" + f.name), RetentionInDays: new(90.0),
	})
	may := append(f.may(), statement{
		Sid: "WriteLog", Actions: []string{"logs:CreateLogStream", "logs:PutLogEvents"}, Resources: []any{log.AttrArn()},
	})
	role := newRole(s, f.name, service("lambda"), ours(), may)
	made := awslambda.NewCfnFunction(s, new(functionID(f.name)), &awslambda.CfnFunctionProps{
		FunctionName: functionName(f.name)(),
		Description:  new("Stile: " + f.does),
		Runtime:      new("provided.al2023"), Handler: new("bootstrap"), Architectures: list("arm64"),
		Code:       code,
		Role:       role.AttrArn(),
		MemorySize: &f.memory,
		Timeout:    &f.timeout,

		ReservedConcurrentExecutions: f.reserved(),
		Environment:                  &awslambda.CfnFunction_EnvironmentProperty{Variables: f.environment()},
		LoggingConfig:                &awslambda.CfnFunction_LoggingConfigProperty{LogGroup: log.Ref(), LogFormat: new("Text")},
	})
	made.AddMetadata(new(binary), "functions/"+f.name)
	return made
}

// ours limits a trust in a service to what works for this account where the service says for whom it does. AWS promises that
// nowhere of Lambda, least of all for the reader of a stream, nor of Firehose: a trust that demanded it might never be given.
func ours() condition {
	return condition{"StringEqualsIfExists": {"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()}}
}

// binary is the metadata that names what a resource runs, relative to bin/.
const binary = "stile:binary"

// reserved is how many executions are kept free for the function, where any are asked for.
func (f function) reserved() *float64 {
	if !slices.Contains([]string{fnAdmin, fnPublish, fnSignHost, fnSignUser}, f.name) {
		return nil
	}
	return awscdk.Token_AsNumber(awscdk.Fn_ConditionIf(new("HasReserved"), ref(paramReserved), awscdk.Aws_NO_VALUE()))
}

func functionID(name string) string { return "Fn" + camel(name) }

func (f function) environment() map[string]any {
	env := map[string]any{names.EnvCluster: imported(Data, "ClusterId")}
	for _, t := range f.tables {
		env[tableEnv[t]] = imported(Data, t+"Name")
	}
	if !f.bucketless {
		env[names.EnvBucketDocuments] = imported(Data, bucketDocuments+"Name")
	}
	for _, p := range f.keys {
		env[keyEnv(p)] = keyARN(p)
	}
	for name, value := range f.env {
		env[name] = value()
	}
	return env
}

var tableEnv = map[string]string{
	tableState:    names.EnvTableState,
	tableSecrets:  names.EnvTableSecrets,
	tableLedger:   names.EnvTableLedger,
	tablePresence: names.EnvTablePresence,
}

// keyEnv names the variable that holds a key's ARN.
func keyEnv(purpose string) string {
	return names.EnvKeyPrefix + strings.ToUpper(strings.ReplaceAll(purpose, "-", "_"))
}
