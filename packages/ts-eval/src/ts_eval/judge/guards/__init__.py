"""TABLE"""
