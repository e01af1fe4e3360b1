"""EC2 on one machine: the AWS API and a real SSH host per running instance."""
