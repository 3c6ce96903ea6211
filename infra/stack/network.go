package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
)

// The fleet's network, unless one is given: two public subnets in two zones, nothing private. Proxies need AWS's public
// endpoints (STS, the API, the registry) and nothing reaches them but the load balancer, which their security group says.
// Private subnets would need a NAT gateway, or six interface endpoints in two zones, for the same effect.
// DynamoDB and S3, where the traffic is, go by gateway endpoints, which cost nothing.
const vpcCIDR = "10.83.0.0/16"

var subnetCIDRs = []string{"10.83.0.0/20", "10.83.16.0/20"}

// Parameters of a network that is given. They go together, see [networkRules].
const (
	paramVPC             = "VpcId"
	paramBalancerSubnets = "BalancerSubnets"
	paramProxySubnets    = "ProxySubnets"
	paramScheme          = "BalancerScheme"
	paramAddresses       = "ProxyAddresses"
	paramSources         = "ProxyProtocolSources"
)

// makesVPC is the condition under which a network is made.
const makesVPC = "MakesVpc"

type network struct {
	vpc            *string
	front, tasks   *[]*string // subnets of the load balancer and of the proxies
	sources        *string    // CIDRs from which the load balancer connects
	balancer, task awsec2.CfnSecurityGroup
}

func newNetwork(s awscdk.Stack, port, containerPort *float64) network {
	networkParameters(s)
	networkRules(s)
	vpc, subnets := newVPC(s)
	given := func(parameter string) *[]*string {
		return awscdk.Token_AsList(awscdk.Fn_ConditionIf(new(makesVPC), subnets, awscdk.Fn_Split(new(","), ref(parameter), nil)), nil)
	}
	n := network{
		vpc: either(makesVPC, vpc, ref(paramVPC)), front: given(paramBalancerSubnets), tasks: given(paramProxySubnets),
		sources: either("HasSources", ref(paramSources), new(vpcCIDR)),
	}
	n.securityGroups(s, port, containerPort)
	return n
}

// empty holds when a parameter is.
func empty(parameter string) awscdk.ICfnRuleConditionExpression {
	return awscdk.Fn_ConditionEquals(ref(parameter), "")
}

// conditionGiven declares the condition that a parameter isn't empty.
func conditionGiven(s awscdk.Stack, condition, parameter string) {
	awscdk.NewCfnCondition(s, &condition, &awscdk.CfnConditionProps{Expression: awscdk.Fn_ConditionNot(empty(parameter))})
}

// either is one of two values, by a condition.
func either(condition string, yes, no any) *string {
	return awscdk.Token_AsString(awscdk.Fn_ConditionIf(&condition, yes, no), nil)
}

func networkParameters(s awscdk.Stack) {
	const subnets = `^(subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*)?$`
	text := func(id, description, pattern, constraint string) {
		awscdk.NewCfnParameter(s, &id, &awscdk.CfnParameterProps{
			Description: &description, Default: "", AllowedPattern: &pattern, ConstraintDescription: &constraint,
		})
	}
	choice := func(id, description string, values ...string) {
		awscdk.NewCfnParameter(s, &id, &awscdk.CfnParameterProps{Description: &description, Default: values[0], AllowedValues: list(values...)})
	}
	text(paramVPC, "Your own VPC, such as vpc-0123456789abcdef0; empty to make one", `^(vpc-[0-9a-f]+)?$`, "empty, or a VPC's id")
	text(paramBalancerSubnets, "Subnets of your VPC for the load balancer, separated by commas; one for each zone", subnets, "empty, or ids of subnets, separated by commas")
	text(paramProxySubnets, "Subnets of your VPC for the proxies, separated by commas; they must reach AWS's public endpoints", subnets, "empty, or ids of subnets, separated by commas")
	text(paramSources, "CIDRs of the load balancer's subnets, separated by commas, in your own VPC: connections from there begin with a PROXY v2 header. Empty for the VPC that is made", `^([0-9a-f.:]+/[0-9]+(,[0-9a-f.:]+/[0-9]+)*)?$`, "empty, or CIDRs separated by commas")
	choice(paramScheme, "internet-facing, or internal for a load balancer that only your networks reach", "internet-facing", "internal")
	choice(paramAddresses, "Whether proxies have public addresses; DISABLED only in subnets of yours with another way out", "ENABLED", "DISABLED")
	awscdk.NewCfnCondition(s, new(makesVPC), &awscdk.CfnConditionProps{Expression: empty(paramVPC)})
	conditionGiven(s, "HasSources", paramSources)
}

// networkRules refuses half a network before anything is made: balancer and proxies would be up, and nobody reach them.
func networkRules(s awscdk.Stack) {
	assert := func(what awscdk.ICfnConditionExpression, text string) *awscdk.CfnRuleAssertion {
		return &awscdk.CfnRuleAssertion{Assert: what, AssertDescription: &text}
	}
	awscdk.NewCfnRule(s, new("GivenNetwork"), &awscdk.CfnRuleProps{
		RuleCondition: awscdk.Fn_ConditionNot(empty(paramVPC)),
		Assertions: &[]*awscdk.CfnRuleAssertion{
			assert(awscdk.Fn_ConditionNot(empty(paramBalancerSubnets)), "VpcId needs BalancerSubnets: name the load balancer's subnets"),
			assert(awscdk.Fn_ConditionNot(empty(paramProxySubnets)), "VpcId needs ProxySubnets: name the proxies' subnets"),
			assert(awscdk.Fn_ConditionNot(empty(paramSources)), "VpcId needs ProxyProtocolSources: give the CIDRs of the load balancer's subnets"),
		},
	})
	awscdk.NewCfnRule(s, new("MadeNetwork"), &awscdk.CfnRuleProps{
		RuleCondition: empty(paramVPC),
		Assertions: &[]*awscdk.CfnRuleAssertion{
			assert(empty(paramBalancerSubnets), "BalancerSubnets needs VpcId: name their VPC"),
			assert(empty(paramProxySubnets), "ProxySubnets needs VpcId: name their VPC"),
			assert(awscdk.Fn_ConditionEquals(ref(paramAddresses), "ENABLED"), "ProxyAddresses may be DISABLED only in a VPC of yours: the one that is made has no other way out"),
		},
	})
}

// newVPC declares the network that is made, under its condition.
func newVPC(s awscdk.Stack) (vpc *string, subnets []*string) {
	made := awsec2.NewCfnVPC(s, new("Vpc"), &awsec2.CfnVPCProps{
		CidrBlock: new(vpcCIDR), EnableDnsHostnames: new(true), EnableDnsSupport: new(true), Tags: tagged("stile"),
	})
	accept(made, accepted{"VPC7": "flow logs cost by the gigabyte and are the account's to add; proxies report every connection in the ledger"})
	gateway := awsec2.NewCfnInternetGateway(s, new("Gateway"), &awsec2.CfnInternetGatewayProps{Tags: tagged("stile")})
	attached := awsec2.NewCfnVPCGatewayAttachment(s, new("GatewayAttachment"), &awsec2.CfnVPCGatewayAttachmentProps{
		VpcId: made.Ref(), InternetGatewayId: gateway.Ref(),
	})
	routes := awsec2.NewCfnRouteTable(s, new("Routes"), &awsec2.CfnRouteTableProps{VpcId: made.Ref(), Tags: tagged("stile")})
	out := awsec2.NewCfnRoute(s, new("RouteOut"), &awsec2.CfnRouteProps{
		RouteTableId: routes.Ref(), DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: gateway.Ref(),
	})
	out.AddResourceDependency(attached, nil)
	all := []awscdk.CfnResource{made, gateway, attached, routes, out}
	for i, cidr := range subnetCIDRs {
		subnet := awsec2.NewCfnSubnet(s, new(fmt.Sprintf("Subnet%d", i+1)), &awsec2.CfnSubnetProps{
			VpcId: made.Ref(), CidrBlock: &cidr, MapPublicIpOnLaunch: new(false), Tags: tagged(fmt.Sprintf("stile-%d", i+1)),
			AvailabilityZone: awscdk.Fn_Select(new(float64(i)), awscdk.Fn_GetAzs(new(""))),
		})
		subnet.AddResourceDependency(out, nil) // what is put there needs the Internet
		all = append(all, subnet, awsec2.NewCfnSubnetRouteTableAssociation(s, new(fmt.Sprintf("Subnet%dRoutes", i+1)), &awsec2.CfnSubnetRouteTableAssociationProps{
			SubnetId: subnet.Ref(), RouteTableId: routes.Ref(),
		}))
		subnets = append(subnets, subnet.Ref())
	}
	for _, name := range []string{"dynamodb", "s3"} {
		all = append(all, awsec2.NewCfnVPCEndpoint(s, new("Endpoint"+camel(name)), &awsec2.CfnVPCEndpointProps{
			VpcId: made.Ref(), ServiceName: sub("com.amazonaws.${AWS::Region}." + name),
			VpcEndpointType: new("Gateway"), RouteTableIds: anyList(routes.Ref()),
		}))
	}
	for _, r := range all {
		r.CfnOptions().SetCondition(found(s, makesVPC))
	}
	return made.Ref(), subnets
}

// securityGroups lets the world reach the balancer's one port, the balancer the proxies' one port, and the
// proxies HTTPS anywhere (AWS, and the API for agents whose only way out they are).
func (n *network) securityGroups(s awscdk.Stack, port, containerPort *float64) {
	n.task = awsec2.NewCfnSecurityGroup(s, new("TaskGroup"), &awsec2.CfnSecurityGroupProps{
		VpcId: n.vpc, GroupDescription: new("Stile: the proxies"), Tags: tagged("stile"),
		SecurityGroupEgress: &[]any{&awsec2.CfnSecurityGroup_EgressProperty{
			IpProtocol: new("tcp"), FromPort: new(443.0), ToPort: new(443.0), CidrIp: new("0.0.0.0/0"), Description: new("AWS and the API"),
		}},
	})
	acknowledge(n.task, "E1151")
	n.balancer = awsec2.NewCfnSecurityGroup(s, new("BalancerGroup"), &awsec2.CfnSecurityGroupProps{
		VpcId: n.vpc, GroupDescription: new("Stile: the load balancer"), Tags: tagged("stile"),
		SecurityGroupIngress: &[]any{&awsec2.CfnSecurityGroup_IngressProperty{
			IpProtocol: new("tcp"), FromPort: port, ToPort: port, CidrIp: new("0.0.0.0/0"), Description: new("clients and agents"),
		}},
		SecurityGroupEgress: &[]any{&awsec2.CfnSecurityGroup_EgressProperty{
			IpProtocol: new("tcp"), FromPort: containerPort, ToPort: containerPort,
			DestinationSecurityGroupId: n.task.AttrGroupId(), Description: new("proxies"),
		}},
	})
	acknowledge(n.balancer, "E1151")
	accept(n.balancer, accepted{"EC23": "clients and agents come from anywhere; the proxies demand a certificate"})
	awsec2.NewCfnSecurityGroupIngress(s, new("TaskIn"), &awsec2.CfnSecurityGroupIngressProps{
		GroupId: n.task.AttrGroupId(), IpProtocol: new("tcp"), FromPort: containerPort, ToPort: containerPort,
		SourceSecurityGroupId: n.balancer.AttrGroupId(), Description: new("the load balancer and its health checks"),
	})
}

func tagged(name string) *[]*awscdk.CfnTag {
	return &[]*awscdk.CfnTag{{Key: new("Name"), Value: &name}}
}
