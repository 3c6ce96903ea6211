package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/stile-dev/stile/pkg/names"
)

// ports are the fleet's parameters that are numbers.
type ports struct{ public, container, count *float64 }

// paramCount is the parameter of how many proxies run.
const paramCount = "DesiredCount"

// newFleet declares the proxies and the load balancer in front of them.
func newFleet(app awscdk.App, cfg Config, set settings) awscdk.Stack {
	s := newStack(app, Fleet, "Stile: the proxies and their load balancer")
	p := fleetParameters(s)
	boundary(s)
	image := newImage(s, cfg)
	net := newNetwork(s, p.public, p.container)
	balancer := newBalancer(s, net, p)
	task := newTask(s, net, p, image)
	service := newService(s, net, task, p)
	service.AddResourceDependency(balancer, nil)
	newMissing(s, service, p, set)
	export(s, "PublicAddr", publicAddr())
	return s
}

func fleetParameters(s awscdk.Stack) ports {
	number := func(id, description string, value, from, to float64) *float64 {
		return awscdk.NewCfnParameter(s, &id, &awscdk.CfnParameterProps{
			Type: new("Number"), Description: &description, Default: value, MinValue: &from, MaxValue: &to,
		}).ValueAsNumber()
	}
	// A load balancer sends people to a target that it was told to leave for up to two minutes. Of those a task has 110
	// seconds before it has to end its sessions; whoever comes in the last ten is reset, and the client tries again.
	number("LingerSeconds", "For how many seconds a proxy that was told to end still takes people, whom the load balancer goes on sending to it", 110, 0, 110)
	return ports{
		public:    number("PublicPort", "The port on which clients and agents reach the proxies", 443, 1, 65535),
		container: number("ContainerPort", "The port that a proxy listens on", 8443, 1024, 65535),
		// An agent has tunnels to two proxies, and proxies don't relay: a client that comes to one without a tunnel asks
		// again, and two copies of an agent are noticed where their tunnels meet. Both need a fleet of three at most.
		count: number(paramCount, "How many proxies run; two or more survive the loss of a zone", 2, 0, 3),
	}
}

// newBalancer declares a load balancer that passes TCP through: TLS ends at the proxy, or behind it.
func newBalancer(s awscdk.Stack, net network, p ports) awscdk.CfnResource {
	balancer := awselasticloadbalancingv2.NewCfnLoadBalancer(s, new("Balancer"), &awselasticloadbalancingv2.CfnLoadBalancerProps{
		Type: new("network"), Scheme: ref(paramScheme), IpAddressType: new("ipv4"),
		Subnets: anyList((*net.front)...), SecurityGroups: anyList(net.balancer.AttrGroupId()),
		LoadBalancerAttributes: &[]any{balancerAttribute("load_balancing.cross_zone.enabled", "true")},
	})
	accept(balancer, accepted{"ELB2": "a Network Load Balancer logs its TLS listeners alone, and TLS ends at the proxies"})
	acknowledge(balancer, "E1154")
	target := awselasticloadbalancingv2.NewCfnTargetGroup(s, new("Targets"), &awselasticloadbalancingv2.CfnTargetGroupProps{
		VpcId: net.vpc, TargetType: new("ip"), Protocol: new("TCP"), Port: p.container,
		HealthCheckEnabled: new(true), HealthCheckProtocol: new("TCP"), HealthCheckIntervalSeconds: new(10.0), HealthCheckTimeoutSeconds: new(5.0),
		HealthyThresholdCount: new(2.0), UnhealthyThresholdCount: new(2.0),
		TargetGroupAttributes: &[]any{
			// With IP targets the client's address is lost otherwise.
			targetAttribute("proxy_protocol_v2.enabled", "true"),
			targetAttribute("preserve_client_ip.enabled", "false"),
			// SIGTERM comes after this delay, and only then can a proxy tell agents to go to the new ones, which the
			// balancer may already prefer. The proxy itself waits for those who still come, and no connection is cut.
			targetAttribute("deregistration_delay.timeout_seconds", "0"),
			targetAttribute("deregistration_delay.connection_termination.enabled", "false"),
			targetAttribute("target_health_state.unhealthy.connection_termination.enabled", "false"),
		},
	})
	acknowledge(target, "E1151")
	return awselasticloadbalancingv2.NewCfnListener(s, new("Listener"), &awselasticloadbalancingv2.CfnListenerProps{
		LoadBalancerArn: balancer.Ref(), Port: p.public, Protocol: new("TCP"),
		DefaultActions: &[]any{&awselasticloadbalancingv2.CfnListener_ActionProperty{Type: new("forward"), TargetGroupArn: target.Ref()}},
	})
}

func balancerAttribute(key, value string) any {
	return &awselasticloadbalancingv2.CfnLoadBalancer_LoadBalancerAttributeProperty{Key: &key, Value: &value}
}

func targetAttribute(key, value string) any {
	return &awselasticloadbalancingv2.CfnTargetGroup_TargetGroupAttributeProperty{Key: &key, Value: &value}
}

func publicAddr() *string {
	return sub("${Balancer.DNSName}:${PublicPort}")
}

// newTask declares the proxy's task. Its root filesystem is read-only; the documents that it keeps while it
// lives go to a volume that dies with it.
func newTask(s awscdk.Stack, net network, p ports, image *string) awsecs.CfnTaskDefinition {
	log := awslogs.NewCfnLogGroup(s, new("Log"), &awslogs.CfnLogGroupProps{LogGroupName: new("/stile/proxy"), RetentionInDays: new(90.0)})
	execution := newRole(s, "fleet-execution", service("ecs-tasks"), ecsTasks(), []statement{
		{
			Sid: "LogInToRegistry", Actions: []string{"ecr:GetAuthorizationToken"}, Resources: []any{"*"},
			Why: "ECS logs in to the registry with it, and the action knows no resource",
		},
		{
			Sid: "PullImages", Actions: []string{"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
			Resources: []any{pullable()},
			Why:       "an image that a parameter names may be in any repository of the account",
		},
		{Sid: "WriteLog", Actions: []string{"logs:CreateLogStream", "logs:PutLogEvents"}, Resources: []any{log.AttrArn()}},
	})
	task := awsecs.NewCfnTaskDefinition(s, new("Task"), &awsecs.CfnTaskDefinitionProps{
		Family: new("stile-proxy"), NetworkMode: new("awsvpc"), RequiresCompatibilities: list("FARGATE"),
		Cpu: new("512"), Memory: new("1024"),
		RuntimePlatform:  &awsecs.CfnTaskDefinition_RuntimePlatformProperty{CpuArchitecture: new(taskArchitecture), OperatingSystemFamily: new("LINUX")},
		ExecutionRoleArn: execution.AttrArn(), TaskRoleArn: imported(Control, exportFleetRole),
		Volumes: &[]any{&awsecs.CfnTaskDefinition_VolumeProperty{Name: new("state")}},
		ContainerDefinitions: &[]any{&awsecs.CfnTaskDefinition_ContainerDefinitionProperty{
			Name: new(container), Image: image, Essential: new(true), ReadonlyRootFilesystem: new(true), StopTimeout: new(120.0),
			PortMappings: &[]any{&awsecs.CfnTaskDefinition_PortMappingProperty{ContainerPort: p.container, Protocol: new("tcp")}},
			MountPoints: &[]any{&awsecs.CfnTaskDefinition_MountPointProperty{
				SourceVolume: new("state"), ContainerPath: new("/var/lib/stile"), ReadOnly: new(false),
			}},
			LinuxParameters: &awsecs.CfnTaskDefinition_LinuxParametersProperty{
				Capabilities: &awsecs.CfnTaskDefinition_KernelCapabilitiesProperty{Drop: list("ALL")}, InitProcessEnabled: new(false),
			},
			Ulimits:     &[]any{&awsecs.CfnTaskDefinition_UlimitProperty{Name: new("nofile"), SoftLimit: new(65536.0), HardLimit: new(65536.0)}},
			Environment: environment(proxyEnvironment(net)),
			LogConfiguration: &awsecs.CfnTaskDefinition_LogConfigurationProperty{
				LogDriver: new("awslogs"),
				Options:   &map[string]*string{"awslogs-group": log.Ref(), "awslogs-region": awscdk.Aws_REGION(), "awslogs-stream-prefix": new("proxy")},
			},
		}},
	})
	accept(task, accepted{"ECS2": "no variable is a secret: they are names, addresses and ports"})
	return task
}

// container is the name of the task's one container.
const container = "proxy"

func proxyEnvironment(net network) map[string]*string {
	return map[string]*string{
		names.EnvCluster:         imported(Data, "ClusterId"),
		names.EnvAPI:             imported(Control, exportAPI),
		names.EnvPublicAddr:      publicAddr(),
		names.EnvListen:          sub(":${ContainerPort}"),
		names.EnvLinger:          sub("${LingerSeconds}"),
		names.EnvProxyProtocol:   net.sources,
		names.EnvTableState:      imported(Data, tableState+"Name"),
		names.EnvTablePresence:   imported(Data, tablePresence+"Name"),
		names.EnvTableLedger:     imported(Data, tableLedger+"Name"),
		names.EnvBucketDocuments: imported(Data, bucketDocuments+"Name"),
	}
}

func environment(env map[string]*string) *[]any {
	var out []any
	for _, name := range sorted(env) {
		out = append(out, &awsecs.CfnTaskDefinition_KeyValuePairProperty{Name: &name, Value: env[name]})
	}
	return &out
}

// newService declares the service. A deployment starts the new proxies before it stops the old ones, and
// rolls back by itself when the new ones don't stay up.
func newService(s awscdk.Stack, net network, task awsecs.CfnTaskDefinition, p ports) awscdk.CfnResource {
	cluster := awsecs.NewCfnCluster(s, new("Cluster"), &awsecs.CfnClusterProps{ClusterName: new("stile")})
	accept(cluster, accepted{"ECS4": "Container Insights costs by the metric and is the account's to switch on"})
	service := awsecs.NewCfnService(s, new("Service"), &awsecs.CfnServiceProps{
		Cluster: cluster.Ref(), ServiceName: new("stile-proxy"), TaskDefinition: task.Ref(), LaunchType: new("FARGATE"), PropagateTags: new("SERVICE"),
		DesiredCount: p.count, HealthCheckGracePeriodSeconds: new(240.0), // a new target waits up to three minutes for its first check to count
		DeploymentConfiguration: &awsecs.CfnService_DeploymentConfigurationProperty{
			MinimumHealthyPercent: new(100.0), MaximumPercent: new(200.0),
			DeploymentCircuitBreaker: &awsecs.CfnService_DeploymentCircuitBreakerProperty{Enable: new(true), Rollback: new(true)},
		},
		NetworkConfiguration: &awsecs.CfnService_NetworkConfigurationProperty{
			AwsvpcConfiguration: &awsecs.CfnService_AwsVpcConfigurationProperty{
				Subnets: net.tasks, SecurityGroups: &[]*string{net.task.AttrGroupId()}, AssignPublicIp: ref(paramAddresses),
			},
		},
		LoadBalancers: &[]any{&awsecs.CfnService_LoadBalancerProperty{
			ContainerName: new(container), ContainerPort: p.container, TargetGroupArn: ref("Targets"),
		}},
	})
	acknowledge(service, "E1154")
	return service
}
