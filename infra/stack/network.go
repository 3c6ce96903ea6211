package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
)

// The fleet's network: two public subnets in two zones, nothing private. Proxies need AWS's public endpoints
// (STS, the API, the registry) and nothing reaches them but the load balancer, which their security group says.
// Private subnets would need a NAT gateway, or six interface endpoints in two zones, for the same effect.
// DynamoDB and S3, where the traffic is, go by gateway endpoints, which cost nothing.
const vpcCIDR = "10.83.0.0/16"

var subnetCIDRs = []string{"10.83.0.0/20", "10.83.16.0/20"}

type network struct {
	vpc            awsec2.CfnVPC
	subnets        []*string
	internet       awscdk.CfnResource // to be waited for before anything needs the Internet
	balancer, task awsec2.CfnSecurityGroup
}

func newNetwork(s awscdk.Stack, port, containerPort *float64) network {
	n := network{vpc: awsec2.NewCfnVPC(s, new("Vpc"), &awsec2.CfnVPCProps{
		CidrBlock: new(vpcCIDR), EnableDnsHostnames: new(true), EnableDnsSupport: new(true), Tags: tagged("stile"),
	})}
	gateway := awsec2.NewCfnInternetGateway(s, new("Gateway"), &awsec2.CfnInternetGatewayProps{Tags: tagged("stile")})
	attached := awsec2.NewCfnVPCGatewayAttachment(s, new("GatewayAttachment"), &awsec2.CfnVPCGatewayAttachmentProps{
		VpcId: n.vpc.Ref(), InternetGatewayId: gateway.Ref(),
	})
	routes := awsec2.NewCfnRouteTable(s, new("Routes"), &awsec2.CfnRouteTableProps{VpcId: n.vpc.Ref(), Tags: tagged("stile")})
	out := awsec2.NewCfnRoute(s, new("RouteOut"), &awsec2.CfnRouteProps{
		RouteTableId: routes.Ref(), DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: gateway.Ref(),
	})
	out.AddResourceDependency(attached, nil)
	n.internet = out
	for i, cidr := range subnetCIDRs {
		subnet := awsec2.NewCfnSubnet(s, new(fmt.Sprintf("Subnet%d", i+1)), &awsec2.CfnSubnetProps{
			VpcId: n.vpc.Ref(), CidrBlock: &cidr, MapPublicIpOnLaunch: new(false), Tags: tagged(fmt.Sprintf("stile-%d", i+1)),
			AvailabilityZone: awscdk.Fn_Select(new(float64(i)), awscdk.Fn_GetAzs(new(""))),
		})
		awsec2.NewCfnSubnetRouteTableAssociation(s, new(fmt.Sprintf("Subnet%dRoutes", i+1)), &awsec2.CfnSubnetRouteTableAssociationProps{
			SubnetId: subnet.Ref(), RouteTableId: routes.Ref(),
		})
		n.subnets = append(n.subnets, subnet.Ref())
	}
	for _, name := range []string{"dynamodb", "s3"} {
		awsec2.NewCfnVPCEndpoint(s, new("Endpoint"+camel(name)), &awsec2.CfnVPCEndpointProps{
			VpcId: n.vpc.Ref(), ServiceName: sub("com.amazonaws.${AWS::Region}." + name),
			VpcEndpointType: new("Gateway"), RouteTableIds: anyList(routes.Ref()),
		})
	}
	n.securityGroups(s, port, containerPort)
	return n
}

// securityGroups lets the world reach the balancer's one port, the balancer the proxies' one port, and the
// proxies HTTPS anywhere (AWS, and the API for agents whose only way out they are).
func (n *network) securityGroups(s awscdk.Stack, port, containerPort *float64) {
	n.task = awsec2.NewCfnSecurityGroup(s, new("TaskGroup"), &awsec2.CfnSecurityGroupProps{
		VpcId: n.vpc.Ref(), GroupDescription: new("Stile: the proxies"), Tags: tagged("stile"),
		SecurityGroupEgress: &[]any{&awsec2.CfnSecurityGroup_EgressProperty{
			IpProtocol: new("tcp"), FromPort: new(443.0), ToPort: new(443.0), CidrIp: new("0.0.0.0/0"), Description: new("AWS and the API"),
		}},
	})
	n.balancer = awsec2.NewCfnSecurityGroup(s, new("BalancerGroup"), &awsec2.CfnSecurityGroupProps{
		VpcId: n.vpc.Ref(), GroupDescription: new("Stile: the load balancer"), Tags: tagged("stile"),
		SecurityGroupIngress: &[]any{&awsec2.CfnSecurityGroup_IngressProperty{
			IpProtocol: new("tcp"), FromPort: port, ToPort: port, CidrIp: new("0.0.0.0/0"), Description: new("clients and agents"),
		}},
		SecurityGroupEgress: &[]any{&awsec2.CfnSecurityGroup_EgressProperty{
			IpProtocol: new("tcp"), FromPort: containerPort, ToPort: containerPort,
			DestinationSecurityGroupId: n.task.AttrGroupId(), Description: new("proxies"),
		}},
	})
	awsec2.NewCfnSecurityGroupIngress(s, new("TaskIn"), &awsec2.CfnSecurityGroupIngressProps{
		GroupId: n.task.AttrGroupId(), IpProtocol: new("tcp"), FromPort: containerPort, ToPort: containerPort,
		SourceSecurityGroupId: n.balancer.AttrGroupId(), Description: new("the load balancer and its health checks"),
	})
}

func tagged(name string) *[]*awscdk.CfnTag {
	return &[]*awscdk.CfnTag{{Key: new("Name"), Value: &name}}
}
